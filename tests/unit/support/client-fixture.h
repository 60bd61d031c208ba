#pragma once
/// What the tests of client dialogues share: a connection, and the dialogue on it.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/settings.h"
#include "login-common/auth-result.h"
#include "login-common/client-dialogue.h"

namespace postern::test {

/// The protocol's fixture makes dialogue_, with what it wants in the fields before it.
class ClientFixture : public testing::Test {
 protected:
  ClientFixture() {
    context_.settings = &settings_;
    context_.mechanisms = &mechanisms_;
    context_.greeting = "Postern ready.";
    context_.security.secured = true;
  }

  /// @param piece  bytes offered at a time
  /// @return the wish behind the last byte, or the first that is more than going on
  login::Wish feed(std::string_view bytes, std::size_t piece = std::string::npos) {
    login::Wish wish = login::Wish::need_more;
    while (!bytes.empty()) {
      const login::Step step = dialogue_->consume(bytes.substr(0, piece), out_);
      bytes.remove_prefix(step.consumed);
      wish = step.wish;
      if (wish != login::Wish::need_more && wish != login::Wish::next) break;
    }
    rest_ = bytes;
    return wish;
  }

  /// What the dialogue has said since the last call.
  std::string said() {
    std::string out(out_.view());
    out_.clear();
    return out;
  }

  /// What it says to a login that ends so.
  std::string answer(login::Outcome outcome, std::string_view reason = "") {
    login::AuthResult result;
    result.outcome = outcome;
    result.text = reason;
    result.has_reason = !reason.empty();
    dialogue_->failed(result, out_);
    return said();
  }

  config::LoginSettings settings_;
  std::vector<login::Mechanism> mechanisms_;
  login::ClientContext context_;
  std::unique_ptr<login::ClientDialogue> dialogue_;
  WipingBuffer out_;
  std::string rest_;  // what feed() did not offer any more
};

}  // namespace postern::test
