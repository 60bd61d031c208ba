#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "io/loop.h"
#include "io/socket.h"
#include "io/tls.h"
#include "lib/handle.h"
#include "lib/result.h"

/// A connected socket with or without TLS, non-blocking, unbuffered: who reads or writes brings the
/// memory, so that a session at rest owns none. TLS reads and writes the descriptor itself, record
/// by record, with SSL_MODE_RELEASE_BUFFERS.
namespace postern::io {

struct StreamTls;  // what a TLS connection needs besides

class Stream {
 public:
  /// What the owner is told. `event` is a set of kinds. During the call the owner may retire
  /// itself (Loop::retire) but must not destroy the stream directly; close() is allowed.
  // NOLINTBEGIN(readability-identifier-naming): bits, not states
  enum Event : unsigned {
    kReadable = 1,    // read() will give something: bytes, closed or error
    kWritable = 2,    // write() takes something
    kTlsStarted = 4,  // the handshake is done: tls_info()
    kTlsFailed = 8,   // error() says why; the stream is useless
    kHungUp = 16,     // want_hang_up() only: the peer closed or broke the connection
  };
  // NOLINTEND(readability-identifier-naming)

  Stream();
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  /// Takes over a connected socket.
  void open(Loop& loop, UniqueFd fd, Callback<unsigned> on_event);
  /// Another owner: what happens next is told there.
  void rebind(Callback<unsigned> on_event) noexcept;
  bool is_open() const noexcept { return static_cast<bool>(fd_); }
  int fd() const noexcept { return fd_.get(); }

  /// Which of kReadable, kWritable to tell; both false: nothing is watched and the socket costs no
  /// wake-up. With TLS, bytes that OpenSSL already holds count as readable: told at the end of the
  /// turn, without the socket.
  void want(bool readable, bool writable) noexcept;
  /// Tell kHungUp while nothing is read (EPOLLRDHUP).
  void want_hang_up(bool on) noexcept;

  /// Up to `size` bytes. Once per event is enough: what is left in the socket or in OpenSSL is told
  /// again. `closed` is also a TLS peer that goes without close_notify.
  IoResult read(char* to, std::size_t size) noexcept;
  /// Writes what the socket takes; `again` after a part was taken comes with the next call.
  /// With TLS, after `again` the same bytes (or more behind them) must be offered again.
  IoResult write(std::string_view bytes) noexcept;
  /// Plain only: what is in the socket, left there (PROXY headers).
  IoResult peek(char* to, std::size_t size) noexcept;

  /// Begins the handshake as server. The answer is kTlsStarted or kTlsFailed, never before the end
  /// of this turn.
  /// @param choose  asked once for the name the client gives (SNI, as sent, at most 255 bytes);
  ///                returns the context to use, or nullptr to keep `context`. May be empty; may be
  ///                called before this returns.
  /// @param received  what was read from the socket and belongs to the handshake, at most
  ///                  kMaxReceived bytes; borrowed for the call
  /// @param scope  sessions are resumed only where they had the same one (the listener)
  using ChooseContext = Callback<std::string_view, std::shared_ptr<TlsContext>&>;
  static constexpr std::size_t kMaxReceived = 8192;
  void start_tls_server(std::shared_ptr<TlsContext> context, ChooseContext choose,
                        std::string_view received = {}, std::string_view scope = {}) noexcept;
  /// Begins the handshake as client.
  void start_tls_client(std::shared_ptr<TlsContext> context, const TlsPeer& peer) noexcept;
  bool tls() const noexcept { return tls_ != nullptr; }
  /// OpenSSL keeps what it decrypted last until the next record comes or the buffer's memory is
  /// used again. As server it is told to wipe it, since passwords come this way; a connection whose
  /// secrets are behind it need not pay for that.
  void stop_wiping() noexcept;
  TlsInfo tls_info() const;
  /// Server, once TLS is up: what the client has shown. State::none if it was not asked.
  ClientCertificate client_certificate() const;
  /// True if kernel TLS or no TLS: bytes may go from socket to socket by splice(2).
  bool plain() const noexcept { return tls_ == nullptr; }

  /// Says that we send no more (TLS: close_notify, then FIN). Reading goes on.
  void shutdown_write() noexcept;
  /// close_notify if TLS is up, then closes.
  void close() noexcept;
  /// Gives the descriptor away (no TLS).
  UniqueFd release() noexcept;

  /// What broke: "Connection reset by peer", "SSL_accept() failed: error:0A00010B:SSL
  /// routines::wrong version number", "Received invalid SSL certificate: …"; safe to log.
  const std::string& error() const noexcept { return error_; }
  /// An errno value. For kTlsFailed: EPIPE if the peer just went away (error() is "Connection
  /// closed"), EKEYREJECTED if its certificate was not accepted, EPROTO for everything else in TLS,
  /// or what the socket said.
  int error_code() const noexcept { return error_code_; }

 private:
  friend struct StreamTls;
  void on_watch(unsigned ready) noexcept;
  void on_later() noexcept;
  void on_handshake_ready(unsigned ready) noexcept;
  void update_watch() noexcept;
  void begin_tls(std::shared_ptr<TlsContext> context, bool server) noexcept;
  bool step_handshake() noexcept;
  bool accept_key() noexcept;
  bool step_handshake_with(std::string_view received) noexcept;
  void fail_tls(const char* call, int result) noexcept;
  IoResult read_tls(char* to, std::size_t size) noexcept;
  IoResult write_tls(std::string_view bytes) noexcept;
  IoResult tls_result(int result, const char* call) noexcept;
  IoResult socket_result(ssize_t n) noexcept;

  Loop* loop_ = nullptr;
  UniqueFd fd_;
  std::unique_ptr<StreamTls> tls_;
  FdWatch watch_;
  Callback<unsigned> on_event_;
  std::string error_;
  int error_code_ = 0;
  bool want_read_ = false;
  bool want_write_ = false;
  bool want_hang_up_ = false;
};

}  // namespace postern::io
