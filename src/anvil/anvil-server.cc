#include "anvil/anvil-server.h"

#include <sysexits.h>

#include <array>
#include <ctime>
#include <vector>

#include "lib/log.h"

namespace postern::anvil {
namespace {

constexpr std::size_t kHighWater = 256UL * 1024;  // unread replies; then no more is read

}  // namespace

class AnvilServer::Connection {
 public:
  Connection(AnvilServer& server, Channel channel, UniqueFd fd)
      : server_(server), channel_(channel), dialogue_(server.state_, channel) {
    stream_.open(server_.service_.loop(), std::move(fd),
                 io::Callback<unsigned>::to<&Connection::on_event>(*this));
    stream_.want(true, false);
  }

  Channel channel() const noexcept { return channel_; }
  void close() noexcept { stream_.close(); }

 private:
  void on_event(unsigned event) noexcept {
    if ((event & io::Stream::kReadable) != 0 && !read()) {
      server_.on_closed(*this);
      return;
    }
    if (!write()) server_.on_closed(*this);
  }

  bool read() {
    static std::array<char, 16384> room;
    const io::IoResult got = stream_.read(room.data(), room.size());
    if (got.status == io::IoStatus::again) return true;
    if (got.status != io::IoStatus::ok) return false;
    input_.append({room.data(), got.bytes});
    return take_lines();
  }

  bool take_lines() {
    while (!input_.empty()) {
      const std::size_t end = input_.view().find('\n');
      if (end == std::string_view::npos ? input_.size() >= Dialogue::kMaxLine
                                        : end >= Dialogue::kMaxLine) {
        log::error("BUG: Anvil client connection sent too much data");
        return false;
      }
      if (end == std::string_view::npos) return true;
      const Status status = dialogue_.on_line(input_.view().substr(0, end), server_now(), output_);
      input_.consume(end + 1);
      for (const std::string& complaint : dialogue_.complaints()) log::error("{}", complaint);
      dialogue_.complaints().clear();
      if (!status.ok()) {
        log::error("{}", status.error().text);
        return false;
      }
    }
    return true;
  }

  bool write() {
    while (!output_.empty()) {
      const io::IoResult put = stream_.write(output_.view());
      if (put.status == io::IoStatus::again) break;
      if (put.status != io::IoStatus::ok) return false;
      output_.consume(put.bytes);
    }
    stream_.want(output_.size() < kHighWater, !output_.empty());
    return true;
  }

  Now server_now() const noexcept {
    return {server_.service_.loop().now(), static_cast<std::int64_t>(time(nullptr))};
  }

  AnvilServer& server_;
  Channel channel_;
  Dialogue dialogue_;
  io::Stream stream_;
  WipingBuffer input_;
  WipingBuffer output_;
};

AnvilServer::AnvilServer(service::Service& service) : service_(service) {}
AnvilServer::~AnvilServer() = default;

void AnvilServer::on_accept(std::size_t, io::Accepted connection) noexcept {
  const Channel channel = ++last_channel_;
  connections_.emplace(channel,
                       std::make_unique<Connection>(*this, channel, std::move(connection.fd)));
  report();
}

void AnvilServer::on_closed(Connection& connection) noexcept {
  const Channel channel = connection.channel();
  const auto found = connections_.find(channel);
  std::unique_ptr<Connection> closed = std::move(found->second);
  connections_.erase(found);
  state_.counts.drop(channel);
  closed->close();
  service_.loop().retire(std::move(closed));
  report();
  if (service_.draining() && connections_.empty()) service_.finish();
}

void AnvilServer::report() noexcept {
  service_.set_load({static_cast<unsigned>(connections_.size()), 0});
}

void AnvilServer::on_drain() noexcept {
  if (connections_.empty()) service_.finish();
}

void AnvilServer::on_terminate() noexcept {
  service_.finish();
}

void AnvilServer::on_call(service::Call call) noexcept {
  if (call.verb() != "penalty") return call.done(EX_USAGE, "unknown command");
  state_.penalties.for_each(time(nullptr), [&call](const std::string& ident, const Penalty& p) {
    call.row({{"ident", ident},
              {"value", std::to_string(p.value)},
              {"last", std::to_string(p.last)},
              {"last_update", std::to_string(p.last_update)}});
  });
  call.done(EX_OK);
}

}  // namespace postern::anvil
