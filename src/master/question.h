#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "io/loop.h"
#include "master/child.h"
#include "master/service-run.h"

/// A call to several children at once (wire/channel.h): rows come as they are answered, the end
/// when everybody has answered, died or let the deadline pass.
namespace postern::master {

class Questions {
 public:
  struct Answer {
    /// One row of one child.
    std::function<void(const ServiceRun& run, pid_t pid, const RowMessage& row)> row;
    /// All have answered: the texts of their `done`, the worst code, and how many did not answer.
    std::function<void(int code, const std::vector<std::string>& texts, unsigned silent)> done;
  };
  static constexpr io::Milliseconds kDeadline{5000};   // after the last word of anybody
  static constexpr io::Milliseconds kLongest{60'000};  // whatever is said

  explicit Questions(io::Loop& loop);

  /// Never answers before it returns, unless `children` is empty.
  /// @return a number for cancel()
  std::uint64_t ask(const std::vector<std::pair<ServiceRun*, Child*>>& children,
                    std::string_view verb, const std::vector<std::string>& arguments,
                    Answer answer);
  /// Nobody wants the answer any more.
  void cancel(std::uint64_t question) noexcept;

  // What children say.
  void on_row(const ServiceRun& run, const Child& child, const RowMessage& row);
  void on_done(const Child& child, const DoneMessage& done);
  void on_child_gone(const Child& child);

 private:
  struct Question {
    Answer answer;
    io::TimePoint deadline, end;
    unsigned open = 0;
    unsigned silent = 0;
    int code = 0;
    std::vector<std::string> texts;
  };
  struct Call {
    std::uint64_t question = 0;
    const Child* child = nullptr;
  };
  void settle(std::uint64_t question);
  void on_time() noexcept;

  io::Timer timer_;
  std::uint64_t next_ = 0;
  std::map<std::uint64_t, Question> questions_;
  std::map<std::uint64_t, Call> calls_;
};

}  // namespace postern::master
