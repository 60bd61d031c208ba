#include "master/question.h"

#include <algorithm>
#include <utility>

#include "wire/channel.h"

namespace postern::master {

Questions::Questions(io::Loop& loop) {
  timer_.start(loop, io::Callback<>::to<&Questions::on_time>(*this));
}

std::uint64_t Questions::ask(const std::vector<std::pair<ServiceRun*, Child*>>& children,
                             std::string_view verb, const std::vector<std::string>& arguments,
                             Answer answer) {
  const std::uint64_t number = ++next_;
  Question question;
  question.answer = std::move(answer);
  question.deadline = io::Clock::now() + kDeadline;
  question.end = io::Clock::now() + kLongest;
  question.open = static_cast<unsigned>(children.size());
  questions_.emplace(number, std::move(question));
  for (const auto& [run, child] : children) {
    const std::uint64_t id = ++next_;
    calls_.emplace(id, Call{number, child});
    const std::string id_text = std::to_string(id);
    std::vector<std::string_view> fields{id_text, verb};
    fields.insert(fields.end(), arguments.begin(), arguments.end());
    child->send(wire::kCall, fields);
  }
  if (children.empty()) {
    settle(number);
  } else if (!timer_.armed()) {
    timer_.set(kDeadline);
  }
  return number;
}

void Questions::cancel(std::uint64_t question) noexcept {
  questions_.erase(question);
  std::erase_if(calls_,
                [question](const auto& entry) { return entry.second.question == question; });
}

void Questions::settle(std::uint64_t number) {
  const auto found = questions_.find(number);
  if (found == questions_.end() || found->second.open > 0) return;
  const Question question = std::move(found->second);
  questions_.erase(found);
  question.answer.done(question.code, question.texts, question.silent);
}

void Questions::on_row(const ServiceRun& run, const Child& child, const RowMessage& row) {
  const auto call = calls_.find(row.id);
  // An id that was not given to this child is not its to answer.
  if (call == calls_.end() || call->second.child != &child) return;
  const auto question = questions_.find(call->second.question);
  if (question == questions_.end()) return;
  // A hundred thousand sessions take their time; the timer finds the new deadline.
  question->second.deadline = std::min(io::Clock::now() + kDeadline, question->second.end);
  if (question->second.answer.row) question->second.answer.row(run, child.pid(), row);
}

void Questions::on_done(const Child& child, const DoneMessage& done) {
  const auto call = calls_.find(done.id);
  if (call == calls_.end() || call->second.child != &child) return;
  const std::uint64_t number = call->second.question;
  calls_.erase(call);
  const auto question = questions_.find(number);
  if (question == questions_.end()) return;
  question->second.open--;
  question->second.code = std::max(question->second.code, done.code);
  question->second.texts.push_back(done.text);
  settle(number);
}

void Questions::on_child_gone(const Child& child) {
  std::vector<std::uint64_t> touched;
  for (auto entry = calls_.begin(); entry != calls_.end();) {
    if (entry->second.child != &child) {
      ++entry;
      continue;
    }
    if (const auto question = questions_.find(entry->second.question);
        question != questions_.end()) {
      question->second.open--;
      question->second.silent++;
      touched.push_back(entry->second.question);
    }
    entry = calls_.erase(entry);
  }
  for (const std::uint64_t number : touched) settle(number);
}

void Questions::on_time() noexcept {
  const io::TimePoint now = io::Clock::now();
  std::vector<std::uint64_t> late;
  for (auto& [number, question] : questions_) {
    if (question.deadline > now) continue;
    question.silent += question.open;
    question.open = 0;
    late.push_back(number);
  }
  for (const std::uint64_t number : late) {
    std::erase_if(calls_, [number](const auto& entry) { return entry.second.question == number; });
    settle(number);
  }
  if (questions_.empty()) return;
  const auto next = std::min_element(
      questions_.begin(), questions_.end(),
      [](const auto& a, const auto& b) { return a.second.deadline < b.second.deadline; });
  const auto wait = std::chrono::duration_cast<io::Milliseconds>(next->second.deadline - now);
  timer_.set(std::max(wait + io::Milliseconds{1}, io::Milliseconds{1}));
}

}  // namespace postern::master
