#include "log/line-reader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace postern::log {
namespace {

/// Feeds pieces and shows each line as "Level pid text".
class LineReaderTest : public ::testing::Test {
 protected:
  LineReader reader;
  std::vector<std::string> lines;
  LineReader::Sink sink = [this](Line line) {
    lines.push_back(std::string(level_name(line.level)) + ' ' + std::to_string(line.pid) + ' ' +
                    line.text);
  };
  void feed(std::string_view bytes) { reader.feed(bytes, sink); }
  std::vector<std::string> taken() { return std::exchange(lines, {}); }
  using Lines = std::vector<std::string>;
};

TEST_F(LineReaderTest, ReadsEveryLevel) {
  feed("\001\0011 d\n\001\0022 i\n\001\0033 w\n\001\0044 e\n\001\0055 f\n\001\0066 p\n");
  EXPECT_EQ(taken(),
            (Lines{"Debug 1 d", "Info 2 i", "Warning 3 w", "Error 4 e", "Fatal 5 f", "Panic 6 p"}));
}

TEST_F(LineReaderTest, UnknownLevelIsAnError) {
  feed("\001\0077 seven\n");
  feed(std::string_view("\001\0008 zero\n", 9));
  feed("\001\3779 high\n\001\0108 prefix=auth: \n");
  EXPECT_EQ(taken(),
            (Lines{"Error 7 seven", "Error 8 zero", "Error 9 high", "Error 8 prefix=auth: "}));
}

TEST_F(LineReaderTest, UnmarkedLineIsAnError) {
  feed("free(): invalid pointer\n");
  EXPECT_EQ(taken(), Lines{"Error 0 free(): invalid pointer"});
}

TEST_F(LineReaderTest, HeadWithoutPidKeepsItsText) {
  feed("\001\002 no pid\n\001\002abc def\n\001\002\n\001\002123\n\001\00299999999999 x\n");
  EXPECT_EQ(taken(), (Lines{"Info 0 no pid", "Info 0 abc def", "Info 0 ", "Info 0 123",
                            "Info 0 99999999999 x"}));
}

TEST_F(LineReaderTest, JoinsWhatCameInPieces) {
  const std::string text = "\001\002123 split line\n\001\001124 debug\n";
  for (const char c : text) feed({&c, 1});
  EXPECT_EQ(taken(), (Lines{"Info 123 split line", "Debug 124 debug"}));
  EXPECT_FALSE(reader.unfinished());
}

TEST_F(LineReaderTest, LastWordsAreDelivered) {
  feed("\001\002123 cut o");
  EXPECT_TRUE(reader.unfinished());
  EXPECT_TRUE(taken().empty());
  reader.end(sink);
  EXPECT_EQ(taken(), Lines{"Info 123 cut o"});
  reader.end(sink);
  EXPECT_TRUE(taken().empty());
}

TEST_F(LineReaderTest, MarkInTheMiddleBeginsALine) {
  // A process died in the middle of a line and another writes on.
  feed("\001\002123 dy");
  feed("\001\001124 alive\n");
  EXPECT_EQ(taken(), (Lines{"Info 123 dy", "Debug 124 alive"}));
}

TEST_F(LineReaderTest, ControlBytesAndBrokenUtf8AreEscaped) {
  using namespace std::string_literals;
  feed("\001\0021 a\rb\x1b[31mc\0d\x7f\te\xe9 \xc3\xa9 \xc2\x85 \xed\xa0\x80\xe2\x80\xae\n"s);
  EXPECT_EQ(taken(), Lines{"Info 1 a\\x0db\\x1b[31mc\\x00d\\x7f e\\xe9 \xc3\xa9 \\xc2\\x85 "
                           "\\xed\\xa0\\x80\\xe2\\x80\\xae"});
}

TEST_F(LineReaderTest, OverlongLineIsBoundedAndContinued) {
  const std::string head = "\001\0021 ";
  feed(head + std::string(20'000, 'L') + "\n\001\0022 next\n");
  const Lines all = taken();
  ASSERT_EQ(all.size(), 4U);
  EXPECT_EQ(all[0].size(), std::string("Info 1 ").size() + LineReader::kMaxLine - head.size());
  EXPECT_TRUE(all[1].starts_with("Info 1 <line continued> LLL"));
  EXPECT_TRUE(all[2].starts_with("Info 1 <line continued> LLL"));
  EXPECT_EQ(all[3], "Info 2 next");
  std::size_t count = 0;
  for (const std::string& line : all) {
    count += static_cast<std::size_t>(std::count(line.begin(), line.end(), 'L'));
  }
  EXPECT_EQ(count, 20'000U);
}

TEST_F(LineReaderTest, EndlessLineTakesNoMemory) {
  for (int i = 0; i < 200; i++) feed(std::string(10'000, 'x'));
  EXPECT_GE(taken().size(), 200U);
  feed("\n\001\0021 good\n");
  EXPECT_EQ(taken().back(), "Info 1 good");
}

TEST_F(LineReaderTest, EmptyLinesSayNothing) {
  feed("\n\n\001\0021 x\n\n");
  EXPECT_EQ(taken(), Lines{"Info 1 x"});
}

}  // namespace
}  // namespace postern::log
