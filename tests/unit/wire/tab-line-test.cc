#include "wire/tab-line.h"

#include <gtest/gtest.h>

#include <string>

namespace postern::wire {
namespace {

using Views = std::vector<std::string_view>;

TEST(TabEscape, WritesWhatWouldBreakALineAsTwoBytes) {
  EXPECT_EQ(tab_escape(std::string_view("a\0b\001c\td\re\nf", 11)),
            "a\0010b\0011c\001td\001re\001nf");
  EXPECT_EQ(tab_escape(""), "");
  EXPECT_EQ(tab_escape("plain \xc3\xa4\x7f"), "plain \xc3\xa4\x7f");
}

TEST(TabEscape, IsUndoneWhateverTheBytes) {
  std::string all;
  for (int i = 0; i < 256; i++) all += static_cast<char>(i);
  for (int i = 255; i >= 0; i--) all += static_cast<char>(i);
  const std::string escaped = tab_escape(all);
  EXPECT_EQ(escaped.find_first_of(std::string_view("\0\t\r\n", 4)), std::string::npos);
  EXPECT_EQ(tab_unescape(escaped), all);
}

TEST(TabUnescape, TakesWhatOthersWrite) {
  EXPECT_EQ(tab_unescape("a\001xb"), "axb") << "an unknown letter stands for itself";
  EXPECT_EQ(tab_unescape("a\001"), "a") << "nothing follows";
  EXPECT_EQ(tab_unescape("\001\001"), "\001");
}

TEST(TabFields, KeepEmptyOnes) {
  EXPECT_EQ(split_tabs("a\tb"), (Views{"a", "b"}));
  EXPECT_EQ(split_tabs(""), Views{""});
  EXPECT_EQ(split_tabs("\t"), (Views{"", ""}));
  EXPECT_EQ(split_tabs("a\t\tb\t"), (Views{"a", "", "b", ""}));
}

TEST(TabFields, SayWhatIsLeft) {
  TabFields fields("a\tb\tc");
  EXPECT_EQ(fields.next(), "a");
  EXPECT_EQ(fields.rest(), "b\tc");
  EXPECT_EQ(fields.next(), "b");
  EXPECT_EQ(fields.next(), "c");
  EXPECT_EQ(fields.rest(), "");
  EXPECT_FALSE(fields.next());
  EXPECT_FALSE(fields.next()) << "and it stays so";
}

TEST(TabLine, EscapesEveryValue) {
  WipingBuffer out;
  TabLine(out, "AUTH")
      .add(7)
      .add("PL\tAIN")
      .key("service", "im\nap")
      .key("lport", 143)
      .flag("secured")
      .add("")
      .end();
  EXPECT_EQ(out.view(), "AUTH\t7\tPL\001tAIN\tservice=im\001nap\tlport=143\tsecured\t\n");
}

}  // namespace
}  // namespace postern::wire
