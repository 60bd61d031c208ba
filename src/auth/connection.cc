#include "auth/connection.h"

#include <openssl/crypto.h>

#include <array>

namespace postern::auth {
namespace {

/// One for all connections: what is read goes into the session at once, and is wiped here.
std::array<char, 16384> read_buffer;

}  // namespace

Connection::Connection(io::Loop& loop, UniqueFd fd, std::unique_ptr<LineSession> session,
                       Owner& owner)
    : session_(std::move(session)), owner_(owner) {
  flush_.start(loop, io::Callback<>::to<&Connection::flush>(*this));
  session_->set_carrier(this);
  stream_.open(loop, std::move(fd), io::Callback<unsigned>::to<&Connection::on_event>(*this));
}

Connection::~Connection() {
  session_->set_carrier(nullptr);
}

void Connection::on_event(unsigned event) noexcept {
  if (over_) return;
  if ((event & io::Stream::kReadable) != 0) read();
  if (!over_) flush();
}

void Connection::read() noexcept {
  while (!over_ && session_->wants_input()) {
    const io::IoResult result = stream_.read(read_buffer.data(), read_buffer.size());
    if (result.status == io::IoStatus::again) return;
    if (result.status != io::IoStatus::ok) return over(true);
    session_->feed(std::string_view(read_buffer.data(), result.bytes));
    OPENSSL_cleanse(read_buffer.data(), result.bytes);
    if (result.bytes < read_buffer.size()) return;
  }
}

void Connection::on_output() noexcept {
  if (over_) return;
  flush_.trigger();
}

void Connection::flush() noexcept {
  if (over_) return;
  WipingBuffer& output = session_->output();
  while (!output.empty()) {
    const io::IoResult result = stream_.write(output.view());
    if (result.status == io::IoStatus::again) break;
    if (result.status != io::IoStatus::ok) return over(true);
    output.consume(result.bytes);
    // Lines that waited for room go on, and may say more.
    session_->on_written();
  }
  if (session_->closing() && output.empty()) return over(false);
  stream_.want(session_->wants_input(), !output.empty());
}

void Connection::over(bool peer_gone) noexcept {
  over_ = true;
  stream_.want(false, false);
  if (peer_gone) session_->on_peer_gone();
  owner_.on_connection_over(*this);
}

}  // namespace postern::auth
