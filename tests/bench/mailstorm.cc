// mailstorm: load generator for mail login proxies.
//
//   mailstorm --mode login|hold|bulk|trickle --proto imap|pop3|submission|sieve --port P
//     [--ip 127.0.0.1] [--tls none|implicit|starttls] [--resume] [--sources N]
//     --conns C        connections at a time           (default 20; --ramp of them logging in at
//     once)
//     --user u%d       %d becomes a number below --users (default 1000)
//     --pass secret    --bad-pct N  percent of logins with password "wrong", which must be refused
//     --groups LIST    key exchange offered (default X25519); always TLS 1.3, ECDSA P-256,
//     AES-256-GCM
//     --sources N      connect from N addresses in 127.1.0.0/16
//     --limit SECS     give up and fail after this long (default 120)
//     --wait           print "READY" and wait for a line on stdin before the measured part
//                      begins (hold: before the final check; bulk --stall: also "STALLED"), and
//                      again, after the report, before connections are closed (not for login)
//     login:   --count N   sessions, closed loop: connect, TLS, log in, NOOP, log out
//     hold:    --conns N logged-in connections kept idle [--idle: in IMAP IDLE]; afterwards each
//              one must still answer a NOOP
//     bulk:    --mib M fetched per connection in one command [--stall S: first do not read for S
//     secs] trickle: --secs S --interval I   every connection sends a NOOP each I seconds
//
// One JSON object on stdout at the end. Exit status 0 only if nothing unexpected happened.
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>

#include <algorithm>
#include <deque>
#include <queue>
#include <vector>

#include "net.h"

namespace {

enum class Proto { imap, pop3, smtp, sieve };
enum class Mode { login, hold, bulk, trickle };
enum class Tls { none, implicit, starttls };
enum class St { connect, tls, greet, starttls, ehlo, login, ready, idle, cmd, quit, done };

struct Cfg {
  Mode mode = Mode::login;
  Proto proto = Proto::imap;
  Tls tls = Tls::none;
  std::string ip, user, pass;
  int port = 0;
  long conns = 20, count = 1000, users = 1000, bad_pct = 0, mib = 16, sources = 1, ramp = 32;
  double limit = 120, secs = 10, interval = 2, stall = 0;
  bool resume = false, wait = false, idle = false;
} g;

struct Conn {
  int fd = -1;
  SSL* ssl = nullptr;
  St st = St::connect;
  bool bad = false, stalled = false, verified = false;
  std::string in, out;
  size_t out_off = 0;
  uint64_t skip = 0, t0 = 0, t_greet = 0, t_cmd = 0, body_left = 0;
  uint32_t events = 0;
  unsigned tag = 0;
};

SSL_CTX* ctx;
std::deque<SSL_SESSION*> sessions;
int ep;
uint64_t started, finished_ok, refused, resumed, handshakes, bytes_in, bursts;
std::map<std::string, uint64_t> errors;
std::vector<uint64_t> lat_session, lat_greet, lat_login, lat_cmd, lat_burst;
std::vector<Conn*> ready_list, dead;
size_t live;

void fail(Conn* c, const std::string& why);

int on_session(SSL*, SSL_SESSION* s) {
  if (sessions.size() > 512) {
    SSL_SESSION_free(sessions.front());
    sessions.pop_front();
  }
  sessions.push_back(s);
  return 1;  // keep the reference
}

void arm(Conn* c, uint32_t want) {
  if (want == c->events) return;
  epoll_event e{};
  e.events = want;
  e.data.ptr = c;
  epoll_ctl(ep, c->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &e);
  c->events = want;
}

void open_conn() {
  Conn* c = new Conn;
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (c->fd < 0) die("socket");
  nodelay(c->fd);
  int one = 1, small = 65536;
  if (g.stall > 0)
    setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small,
               sizeof small);  // the proxy must wait, not the kernel
  if (g.sources > 1) {
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    unsigned k = unsigned(started) % unsigned(g.sources);
    sockaddr_in s{};
    s.sin_family = AF_INET;
    s.sin_addr.s_addr = htonl(0x7f010001u + k % 250 + ((k / 250) << 8));
    if (bind(c->fd, (sockaddr*)&s, sizeof s) < 0) die("bind source");
  }
  sockaddr_in a = addr4(g.ip, g.port);
  c->t0 = now_ns();
  c->bad = g.bad_pct && long((started * 37) % 100) < g.bad_pct;
  started++;
  live++;
  if (connect(c->fd, (sockaddr*)&a, sizeof a) < 0 && errno != EINPROGRESS) {
    arm(c, EPOLLOUT);
    fail(c, std::string("connect: ") + strerror(errno));
    return;
  }
  arm(c, EPOLLOUT);
}

void drop(Conn* c) {
  if (c->fd < 0) return;
  if (c->ssl) {
    if (SSL_is_init_finished(c->ssl))
      SSL_shutdown(c->ssl);  // without it OpenSSL forbids resumption
    ERR_clear_error();
    SSL_free(c->ssl);
  }
  c->ssl = nullptr;
  close(c->fd);
  c->fd = -1;
  live--;
  dead.push_back(c);
}

void fail(Conn* c, const std::string& why) {
  static const char* names[] = {"connect", "tls",  "greet", "starttls", "ehlo", "login",
                                "ready",   "idle", "cmd",   "quit",     "done"};
  errors[std::string(names[int(c->st)]) + ": " + why.substr(0, 80)]++;
  drop(c);
}

void begin_tls(Conn* c) {
  c->ssl = SSL_new(ctx);
  SSL_set_fd(c->ssl, c->fd);
  SSL_set_connect_state(c->ssl);
  if (g.resume && !sessions.empty()) {
    SSL_SESSION* s = sessions.front();
    sessions.pop_front();
    SSL_set_session(c->ssl, s);
    SSL_SESSION_free(s);
  }
  c->st = St::tls;
}

void queue(Conn* c, const std::string& s) {
  c->out += s;
}

std::string user_of(Conn* c) {
  std::string u = g.user;
  size_t p = u.find("%d");
  if (p != u.npos) u.replace(p, 2, std::to_string(c->t0 / 1000 % uint64_t(g.users)));
  return u;
}

void send_login(Conn* c) {
  std::string u = user_of(c), p = c->bad ? "wrong" : g.pass;
  c->st = St::login;
  c->t_cmd = now_ns();
  std::string nul(1, '\0');
  switch (g.proto) {
    case Proto::imap:
      queue(c, "t" + std::to_string(++c->tag) + " LOGIN " + u + " " + p + "\r\n");
      break;
    case Proto::pop3:
      queue(c, "USER " + u + "\r\n");
      break;
    case Proto::smtp:
      queue(c, "AUTH PLAIN " + b64enc(nul + u + nul + p) + "\r\n");
      break;
    case Proto::sieve:
      queue(c, "AUTHENTICATE \"PLAIN\" \"" + b64enc(nul + u + nul + p) + "\"\r\n");
      break;
  }
}

void send_noop(Conn* c) {
  c->st = St::cmd;
  c->t_cmd = now_ns();
  queue(c, g.proto == Proto::imap ? "t" + std::to_string(++c->tag) + " NOOP\r\n" : "NOOP\r\n");
}

void send_bulk(Conn* c) {
  c->st = St::cmd;
  c->t_cmd = now_ns();
  c->body_left = 0;
  std::string m = std::to_string(g.mib);
  switch (g.proto) {
    case Proto::imap:
      queue(c, "t" + std::to_string(++c->tag) + " FETCH " + m + " BODY[]\r\n");
      break;
    case Proto::pop3:
      queue(c, "RETR " + m + "\r\n");
      break;
    case Proto::sieve:
      queue(c, "GETSCRIPT " + m + "\r\n");
      break;
    case Proto::smtp:
      die("bulk is not available for submission");
  }
}

void send_quit(Conn* c) {
  c->st = St::quit;
  if (g.proto == Proto::imap)
    queue(c, "t" + std::to_string(++c->tag) + " LOGOUT\r\n");
  else
    queue(c, g.proto == Proto::sieve ? "LOGOUT\r\n" : "QUIT\r\n");
}

enum class R { more, ok, no };

// Is this line the end of a reply, and a good one?
R reply(Conn* c, std::string_view l) {
  auto starts = [&](const char* p) {
    return l.size() >= strlen(p) && strncasecmp(l.data(), p, strlen(p)) == 0;
  };
  switch (g.proto) {
    case Proto::imap: {
      if (c->st == St::greet) return starts("* OK") ? R::ok : R::no;
      std::string t = "t" + std::to_string(c->tag) + " ";
      if (l.substr(0, t.size()) != t) return starts("* BYE") && c->st != St::quit ? R::no : R::more;
      l.remove_prefix(t.size());
      return starts("OK") ? R::ok : R::no;
    }
    case Proto::pop3:
      return starts("+OK") ? R::ok : R::no;
    case Proto::smtp:
      if (l.size() > 3 && l[3] == '-') return R::more;
      return starts("2") ? R::ok : R::no;
    case Proto::sieve:
      if (starts("OK")) return R::ok;
      return starts("NO") || starts("BYE") ? R::no : R::more;
  }
  return R::no;
}

void enter_ready(Conn* c) {
  lat_login.push_back(now_ns() - c->t_cmd);
  c->st = St::ready;
  if (g.mode == Mode::login) {
    send_noop(c);
    return;
  }
  if (g.idle && g.mode == Mode::hold) {
    c->st = St::idle;
    queue(c, "t" + std::to_string(++c->tag) + " IDLE\r\n");
    return;
  }
  ready_list.push_back(c);
}

void greeted(Conn* c) {
  c->t_greet = now_ns() - c->t0;
  lat_greet.push_back(c->t_greet);
  if (g.tls == Tls::starttls && !c->ssl) {
    if (g.proto == Proto::smtp) {
      c->st = St::ehlo;
      queue(c, "EHLO storm\r\n");
      return;
    }
    c->st = St::starttls;
    queue(c, g.proto == Proto::imap   ? "t" + std::to_string(++c->tag) + " STARTTLS\r\n"
             : g.proto == Proto::pop3 ? "STLS\r\n"
                                      : "STARTTLS\r\n");
    return;
  }
  if (g.proto == Proto::smtp) {
    c->st = St::ehlo;
    queue(c, "EHLO storm\r\n");
    return;
  }
  send_login(c);
}

// Handles one line; false when the connection is gone.
bool line(Conn* c, std::string_view l) {
  if (c->st == St::idle) {
    if (l.substr(0, 1) == "+") {
      ready_list.push_back(c);
      return true;
    }
    if (l.substr(0, 11) == "* OK burst ") {
      uint64_t t = strtoull(l.data() + 11, nullptr, 10), n = now_ns();
      lat_burst.push_back(n > t ? n - t : 0);
      bursts++;
      return true;
    }
    if (l.substr(0, 1) == "*") return true;
    if (l.find(" OK") == l.npos) {
      fail(c, std::string(l));
      return false;
    }
    send_noop(c);
    return true;
  }
  if (g.mode == Mode::bulk && c->st == St::cmd) {
    if (g.proto == Proto::pop3) {
      if (l.substr(0, 3) == "+OK" && !c->body_left) {
        c->skip = c->body_left = uint64_t(g.mib) << 20;
        return true;
      }
      if (l != ".") {
        fail(c, std::string(l));
        return false;
      }
      c->st = St::done;
      return true;
    }
    if (!l.empty() && l.back() == '}') {
      size_t b = l.rfind('{');
      c->skip = c->body_left = strtoull(l.data() + b + 1, nullptr, 10);
      return true;
    }
    R r = reply(c, l);
    if (r == R::more) return true;
    if (r == R::no || c->body_left != uint64_t(g.mib) << 20) {
      fail(c, std::string(l));
      return false;
    }
    c->st = St::done;
    return true;
  }
  if (g.proto == Proto::sieve && c->st == St::ready) return true;
  R r = reply(c, l);
  if (r == R::more) return true;
  if (r == R::no) {
    if (c->st == St::login && c->bad) {
      refused++;
      drop(c);
      return false;
    }
    fail(c, std::string(l));
    return false;
  }
  switch (c->st) {
    case St::greet:
      greeted(c);
      break;
    case St::ehlo:
      if (g.tls == Tls::starttls && !c->ssl) {
        c->st = St::starttls;
        queue(c, "STARTTLS\r\n");
      } else
        send_login(c);
      break;
    case St::starttls:
      c->in.clear();
      begin_tls(c);
      break;
    case St::login:
      if (g.proto == Proto::pop3 && c->body_left == 0) {
        c->body_left = 1;
        queue(c, "PASS " + std::string(c->bad ? "wrong" : g.pass) + "\r\n");
        break;
      }
      c->body_left = 0;
      if (c->bad) {
        fail(c, "bad password accepted");
        return false;
      }
      enter_ready(c);
      break;
    case St::cmd:
      lat_cmd.push_back(now_ns() - c->t_cmd);
      if (g.mode == Mode::login)
        send_quit(c);
      else if (g.mode == Mode::hold) {
        c->verified = true;
        c->st = St::done;
      } else
        c->st = St::ready;
      break;
    case St::quit:
      lat_session.push_back(now_ns() - c->t0);
      finished_ok++;
      drop(c);
      return false;
    default:
      break;  // untagged chatter
  }
  return true;
}

bool flush(Conn* c) {
  while (c->out_off < c->out.size()) {
    ssize_t r;
    if (c->ssl) {
      r = SSL_write(c->ssl, c->out.data() + c->out_off, int(c->out.size() - c->out_off));
      if (r <= 0) {
        int e = SSL_get_error(c->ssl, int(r));
        ERR_clear_error();
        if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE) {
          arm(c, EPOLLIN | EPOLLOUT);
          return true;
        }
        fail(c, "TLS write failed");
        return false;
      }
    } else {
      r = send(c->fd, c->out.data() + c->out_off, c->out.size() - c->out_off, MSG_NOSIGNAL);
      if (r < 0) {
        if (errno == EAGAIN) {
          arm(c, EPOLLIN | EPOLLOUT);
          return true;
        }
        fail(c, strerror(errno));
        return false;
      }
    }
    c->out_off += size_t(r);
  }
  c->out.clear();
  c->out_off = 0;
  arm(c, c->stalled ? 0u | EPOLLERR : EPOLLIN);
  return true;
}

void handle(Conn* c) {
  if (c->fd < 0) return;
  if (c->st == St::connect) {
    int e = 0;
    socklen_t n = sizeof e;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &e, &n);
    if (e) {
      fail(c, strerror(e));
      return;
    }
    if (g.tls == Tls::implicit)
      begin_tls(c);
    else {
      c->st = St::greet;
      arm(c, EPOLLIN);
    }
  }
  if (c->st == St::tls) {
    int r = SSL_do_handshake(c->ssl);
    if (r != 1) {
      int e = SSL_get_error(c->ssl, r);
      ERR_clear_error();
      if (e == SSL_ERROR_WANT_READ) {
        arm(c, EPOLLIN);
        return;
      }
      if (e == SSL_ERROR_WANT_WRITE) {
        arm(c, EPOLLOUT);
        return;
      }
      fail(c, "handshake failed");
      return;
    }
    handshakes++;
    if (SSL_session_reused(c->ssl)) resumed++;
    if (g.tls == Tls::implicit || g.proto == Proto::sieve)
      c->st = St::greet;
    else if (g.proto == Proto::smtp) {
      c->st = St::ehlo;
      queue(c, "EHLO storm\r\n");
    } else
      send_login(c);
    if (!flush(c)) return;
  }
  static char buf[262144];
  for (int k = 0; k < 8 && !c->stalled; k++) {
    ssize_t r;
    if (c->ssl) {
      r = SSL_read(c->ssl, buf, sizeof buf);
      if (r <= 0) {
        int e = SSL_get_error(c->ssl, int(r));
        ERR_clear_error();
        if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE) break;
        r = 0;
      }
    } else {
      r = read(c->fd, buf, sizeof buf);
      if (r < 0) {
        if (errno == EAGAIN || errno == EINTR) break;
        fail(c, strerror(errno));
        return;
      }
    }
    if (r == 0) {
      fail(c, "closed by peer");
      return;
    }
    bytes_in += uint64_t(r);
    size_t pos = 0, len = size_t(r);
    while (pos < len) {
      if (c->skip) {
        size_t n = std::min<uint64_t>(c->skip, len - pos);
        c->skip -= n;
        pos += n;
        continue;
      }
      char* nl = (char*)memchr(buf + pos, '\n', len - pos);
      if (!nl) {
        c->in.append(buf + pos, len - pos);
        if (c->in.size() > 65536) {
          fail(c, "line too long");
          return;
        }
        break;
      }
      c->in.append(buf + pos, size_t(nl - (buf + pos)));
      pos = size_t(nl - buf) + 1;
      if (!c->in.empty() && c->in.back() == '\r') c->in.pop_back();
      std::string l;
      l.swap(c->in);
      if (!line(c, l)) return;
      if (c->st == St::tls) break;
    }
    if (c->st == St::tls) {
      handle(c);
      return;
    }
    if (!flush(c)) return;
    if (!c->ssl && len < sizeof buf) break;
  }
}

void pump(int timeout_ms) {
  epoll_event ev[512];
  int n = epoll_wait(ep, ev, 512, timeout_ms);
  for (int i = 0; i < n; i++) handle(static_cast<Conn*>(ev[i].data.ptr));
  if (g.mode == Mode::login)  // the other modes keep every connection in ready_list
    for (Conn* c : dead) delete c;
  dead.clear();
}

void rendezvous(const char* word) {
  if (!g.wait) return;
  printf("%s\n", word);
  fflush(stdout);
  std::string s;
  // Keep serving the sockets while waiting for the go-ahead.
  for (;;) {
    pollfd p{0, POLLIN, 0};
    if (poll(&p, 1, 0) > 0) {
      char ch;
      ssize_t r = read(0, &ch, 1);
      if (r <= 0 || ch == '\n') return;
    }
    pump(20);
  }
}

void pct(const char* name, std::vector<uint64_t>& v, bool& first) {
  if (v.empty()) return;
  std::sort(v.begin(), v.end());
  auto at = [&](double q) {
    return double(v[std::min(v.size() - 1, size_t(q * double(v.size())))]) / 1e6;
  };
  printf("%s\"%s\":{\"p50\":%.3f,\"p99\":%.3f,\"p999\":%.3f,\"max\":%.3f}", first ? "" : ",", name,
         at(.5), at(.99), at(.999), at(1));
  first = false;
}

std::string esc(const std::string& s) {
  std::string o;
  for (char c : s) {
    if (c == '"' || c == '\\') o += '\\';
    o += (unsigned char)c < 32 ? '?' : c;
  }
  return o;
}

}  // namespace

int main(int argc, char** argv) {
  Args a(argc, argv);
  errno = 0;
  signal(SIGPIPE, SIG_IGN);
  raise_fd_limit();
  std::string m = a.str("mode", "login"), p = a.str("proto", "imap"), t = a.str("tls", "none");
  g.mode = m == "login"     ? Mode::login
           : m == "hold"    ? Mode::hold
           : m == "bulk"    ? Mode::bulk
           : m == "trickle" ? Mode::trickle
                            : (die("unknown mode"), Mode::login);
  g.proto = p == "imap"         ? Proto::imap
            : p == "pop3"       ? Proto::pop3
            : p == "submission" ? Proto::smtp
            : p == "sieve"      ? Proto::sieve
                                : (die("unknown protocol"), Proto::imap);
  g.tls = t == "none"       ? Tls::none
          : t == "implicit" ? Tls::implicit
          : t == "starttls" ? Tls::starttls
                            : (die("unknown --tls"), Tls::none);
  g.ip = a.str("ip", "127.0.0.1");
  g.port = int(a.num("port"));
  g.user = a.str("user", "u%d");
  g.pass = a.str("pass", "secret");
  g.conns = a.num("conns", 20);
  g.count = a.num("count", 1000);
  g.users = a.num("users", 1000);
  g.bad_pct = a.num("bad-pct");
  g.mib = a.num("mib", 16);
  g.sources = a.num("sources", 1);
  g.ramp = a.num("ramp", 32);
  g.limit = a.real("limit", 120);
  g.secs = a.real("secs", 10);
  g.interval = a.real("interval", 2);
  g.stall = a.real("stall", 0);
  g.resume = a.has("resume");
  g.wait = a.has("wait");
  g.idle = a.has("idle");
  if (!g.port) die("--port is needed");
  ctx = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, nullptr);
  SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                            SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  // One choice each keeps the client cheap and every peer on the same cryptography.
  if (!SSL_CTX_set1_groups_list(ctx, a.str("groups", "X25519").c_str()) ||
      !SSL_CTX_set1_sigalgs_list(ctx, "ECDSA+SHA256") ||
      !SSL_CTX_set_ciphersuites(ctx, "TLS_AES_256_GCM_SHA384") ||
      !SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION))
    die("TLS settings");
  if (g.resume) {
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_session);
  }
  ep = epoll_create1(EPOLL_CLOEXEC);

  uint64_t deadline = now_ns() + uint64_t(g.limit * 1e9), begin = 0, end = 0;
  bool late = false;
  auto over = [&] { return (late = late || now_ns() > deadline); };
  uint64_t nerr = 0;
  auto errsum = [&] {
    nerr = 0;
    for (auto& e : errors) nerr += e.second;
    return nerr;
  };

  if (g.mode == Mode::login) {
    rendezvous("READY");
    begin = now_ns();
    while (!over()) {
      while (live < size_t(g.conns) && started < uint64_t(g.count)) open_conn();
      if (live == 0) break;
      pump(100);
      if (errsum() > 200 && nerr * 2 > started) break;
    }
    end = now_ns();
  } else {
    uint64_t ramp0 = now_ns();
    while (ready_list.size() < size_t(g.conns) && !over()) {
      while (live - ready_list.size() < size_t(g.ramp) && live < size_t(g.conns) && errsum() < 50)
        open_conn();
      if (live == 0 || (errsum() >= 50 && live == ready_list.size())) break;
      pump(100);
    }
    double ramp = double(now_ns() - ramp0) / 1e9;
    fprintf(stderr, "mailstorm: %zu of %ld ready in %.2f s\n", ready_list.size(), g.conns, ramp);
    rendezvous("READY");
    begin = now_ns();
    if (g.mode == Mode::hold) {
      if (!g.wait)
        for (uint64_t stop = now_ns() + uint64_t(g.secs * 1e9); now_ns() < stop && !over();)
          pump(50);
      end = now_ns();
      for (Conn* c : ready_list) {
        if (c->fd < 0) continue;
        if (c->st == St::idle)
          queue(c, "DONE\r\n");
        else
          send_noop(c);
        flush(c);
      }
      while (!over()) {
        size_t open = 0;
        for (Conn* c : ready_list)
          if (c->fd >= 0 && c->st != St::done) open++;
        if (!open || errsum()) break;
        pump(50);
      }
      for (Conn* c : ready_list)
        if (c->fd >= 0 && c->verified) finished_ok++;
    } else if (g.mode == Mode::bulk) {
      for (Conn* c : ready_list) {
        if (g.stall > 0) c->stalled = true;
        send_bulk(c);
        flush(c);
      }
      if (g.stall > 0) {
        for (uint64_t stop = now_ns() + uint64_t(g.stall * 1e9); now_ns() < stop && !over();) {
          usleep(20000);
          pump(0);
        }
        rendezvous("STALLED");
        for (Conn* c : ready_list)
          if (c->fd >= 0) {
            c->stalled = false;
            arm(c, EPOLLIN);
            handle(c);
          }
      }
      uint64_t base = bytes_in;
      begin = now_ns();
      while (!over()) {
        size_t open = 0;
        for (Conn* c : ready_list)
          if (c->st != St::done) open++;
        if (!open || errsum()) break;
        pump(100);
      }
      end = now_ns();
      bytes_in -= base;
      for (Conn* c : ready_list)
        if (c->st == St::done) finished_ok++;
    } else {
      using Due = std::pair<uint64_t, Conn*>;
      std::priority_queue<Due, std::vector<Due>, std::greater<Due>> q;
      uint64_t step = uint64_t(g.interval * 1e9), stop = now_ns() + uint64_t(g.secs * 1e9);
      for (size_t i = 0; i < ready_list.size(); i++)
        q.push({now_ns() + step * i / ready_list.size(), ready_list[i]});
      while (now_ns() < stop && !q.empty() && !over() && !errsum()) {
        uint64_t n = now_ns();
        while (!q.empty() && q.top().first <= n) {
          Conn* c = q.top().second;
          q.pop();
          q.push({n + step, c});
          if (c->st == St::ready) {
            send_noop(c);
            flush(c);
          }
        }
        pump(1);
      }
      for (int i = 0; i < 200 && !errsum(); i++) {
        size_t open = 0;
        for (Conn* c : ready_list)
          if (c->st != St::ready) open++;
        if (!open) break;
        pump(10);
      }
      end = now_ns();
      finished_ok = ready_list.size();
    }
  }
  if (late) errors["time limit reached"]++;
  errsum();
  double secs = double(end - begin) / 1e9;
  printf(
      "{\"mode\":\"%s\",\"proto\":\"%s\",\"started\":%lu,\"ok\":%lu,\"refused\":%lu,\"errors\":%lu,"
      "\"secs\":%.3f,\"rate\":%.1f,"
      "\"handshakes\":%lu,\"resumed\":%lu,\"bytes\":%lu,\"mb_s\":%.1f,\"cmds\":%zu,\"bursts\":%lu,"
      "\"ready\":%zu,\"cpu_ms\":%.1f,\"lat_ms\":{",
      m.c_str(), p.c_str(), started, finished_ok, refused, nerr, secs,
      secs > 0 ? double(finished_ok) / secs : 0, handshakes, resumed, bytes_in,
      secs > 0 ? double(bytes_in) / 1e6 / secs : 0, lat_cmd.size(), bursts, ready_list.size(),
      double(clock_ns(CLOCK_PROCESS_CPUTIME_ID)) / 1e6);
  bool first = true;
  pct("session", lat_session, first);
  pct("greeting", lat_greet, first);
  pct("login", lat_login, first);
  pct("cmd", lat_cmd, first);
  pct("burst", lat_burst, first);
  printf("},\"error_list\":{");
  first = true;
  for (auto& e : errors) {
    printf("%s\"%s\":%lu", first ? "" : ",", esc(e.first).c_str(), e.second);
    first = false;
  }
  printf("}}\n");
  fflush(stdout);
  uint64_t want = g.mode == Mode::login ? uint64_t(g.count) : uint64_t(g.conns);
  if (g.wait && g.mode != Mode::login) {  // stay connected until the runner has taken its samples
    char ch;
    while (read(0, &ch, 1) > 0 && ch != '\n') {
    }
  }
  bool good = nerr == 0 && finished_ok + refused == want;
  _exit(good ? 0 : 1);
}
