// A child of the master for the tests of service::Service: clients' lines come back, some of them
// are orders.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "io/stream.h"
#include "lib/log.h"
#include "service/service.h"

namespace {

using postern::Result;
using postern::UniqueFd;
namespace io = postern::io;
namespace service = postern::service;

class EchoServer;

class Client {
 public:
  Client(EchoServer& server, io::Loop& loop, UniqueFd fd) : server_(server) {
    stream_.open(loop, std::move(fd), io::Callback<unsigned>::to<&Client::on_event>(*this));
    stream_.want(true, false);
  }
  void say(const std::string& text) { stream_.write(text + "\n"); }
  void close() { stream_.close(); }
  bool relaying = false;

 private:
  void on_event(unsigned) noexcept;
  EchoServer& server_;
  io::Stream stream_;
};

class EchoServer : public service::Handler {
 public:
  explicit EchoServer(service::Service& service) : service_(service) {
    later_.start(service_.loop(), io::Callback<>::to<&EchoServer::report_now>(*this));
  }

  void on_accept(std::size_t index, io::Accepted connection) noexcept override {
    clients_.push_back(std::make_unique<Client>(*this, service_.loop(), std::move(connection.fd)));
    clients_.back()->say("welcome " + std::to_string(index));
    report();
  }
  void on_drain() noexcept override { end_if_empty(); }
  void on_terminate() noexcept override {
    if (stubborn_) return;
    while (!clients_.empty()) end(*clients_.front(), "BYE");
    service_.finish();
  }
  void on_evict(unsigned count) noexcept override {
    for (; count > 0 && !clients_.empty(); count--) end(*clients_.front(), "evicted");
  }
  service::Evictable evictable() const override {
    if (shy_) return {};
    const auto count = static_cast<unsigned>(
        std::count_if(clients_.begin(), clients_.end(),
                      [](const std::unique_ptr<Client>& client) { return !client->relaying; }));
    return {count, "192.0.2.1", count};
  }
  void on_call(service::Call call) noexcept override {
    if (call.verb() == "keep") {
      kept_.emplace(std::move(call));
      return;
    }
    if (call.verb() == "forget") return;
    for (const std::string& argument : call.arguments()) {
      call.row({{"argument", argument}, {"clients", std::to_string(clients_.size())}});
    }
    call.done(0, "that is all");
  }
  void on_forked() noexcept override { forked_ = true; }
  bool on_packet(std::string_view verb, const std::vector<std::string>& fields,
                 UniqueFd) noexcept override {
    if (verb != "word") return false;
    word_ = fields.at(0);
    return true;
  }

  void order(Client& client, const std::string& line) {
    if (line == "quit") return end(client, "bye");
    if (line == "relay") {
      client.relaying = true;
      report();
      return client.say("relaying");
    }
    if (line == "who") {
      return client.say(std::to_string(getpid()) + (forked_ ? " copy " : " original ") + word_);
    }
    if (line == "lazy") {
      lazy_ = true;
      return client.say("yawn");
    }
    if (line == "log") {
      postern::log::warning("a word for the log");
      return client.say("logged");
    }
    if (line == "answer") {
      kept_->done(0);
      kept_.reset();
      return client.say("answered");
    }
    if (line == "shy") {
      shy_ = true;
      return client.say("not me");
    }
    if (line == "stubborn") {
      stubborn_ = true;
      return client.say("never");
    }
    if (line.starts_with("connect ")) {
      service_.connect(line.substr(8), [&client](Result<UniqueFd> answer) {
        if (!answer.ok()) return client.say("failed: " + answer.error().text);
        [[maybe_unused]] const auto n = ::write(answer.value().get(), "hello", 5);
        client.say("connected");
      });
      return;
    }
    client.say(line);
  }
  void end(Client& client, const std::string& word) {
    client.say(word);
    gone(client);
  }
  void gone(Client& client) {
    for (auto at = clients_.begin(); at != clients_.end(); ++at) {
      if (at->get() != &client) continue;
      client.close();
      service_.loop().retire(std::move(*at));
      clients_.erase(at);
      break;
    }
    report();
    end_if_empty();
  }

 private:
  void end_if_empty() {
    if (service_.draining() && clients_.empty()) service_.finish();
  }
  void report() {
    if (lazy_) return later_.trigger();
    report_now();
  }
  void report_now() noexcept {
    service::Load load;
    for (const auto& client : clients_) ++(client->relaying ? load.relaying : load.clients);
    service_.set_load(load);
  }

  service::Service& service_;
  std::list<std::unique_ptr<Client>> clients_;
  std::optional<service::Call> kept_;
  io::Deferred later_;
  bool lazy_ = false;  // tells its load once a turn
  std::string word_ = "-";
  bool forked_ = false;
  bool stubborn_ = false;
  bool shy_ = false;
};

void Client::on_event(unsigned) noexcept {
  std::array<char, 1000> room{};
  const io::IoResult got = stream_.read(room.data(), room.size());
  if (got.status == io::IoStatus::again) return;
  if (got.status != io::IoStatus::ok) return server_.gone(*this);
  std::string line(room.data(), got.bytes);
  while (!line.empty() && line.back() == '\n') line.pop_back();
  server_.order(*this, line);
}

}  // namespace

int main() {
  service::Service service("echo");
  EchoServer server(service);
  return service.run(server);
}
