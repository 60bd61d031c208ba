// mailsink: a backend that accepts every login and costs as little CPU as possible.
// Speaks enough IMAP, POP3, SMTP submission and ManageSieve to stand behind a login proxy.
//
//   mailsink [--ip 127.0.0.1] [--imap P] [--imaps P] [--pop3 P] [--pop3s P] [--submission P]
//            [--submissions P] [--sieve P] [--cert F --key F] [--threads N] [--starttls]
//            [--reject-pass WORD]
//
// Prints "READY" once every port listens. A login whose password is WORD (default "wrong")
// is refused. SIGUSR1 sends one line "* OK burst <CLOCK_MONOTONIC ns>" to each IMAP client
// that is in IDLE. SIGTERM prints a JSON line of counters and exits.
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

#include <atomic>
#include <set>
#include <thread>
#include <vector>

#include "net.h"

namespace {

enum class Proto { imap, pop3, smtp, sieve };
enum class Wait { command, sasl_plain, sasl_user, sasl_pass, idle, data };

std::atomic<uint64_t> n_conns, n_logins, n_refused, n_bulk, n_bad, g_burst;
std::string g_reject;
bool g_starttls;
SSL_CTX* g_ctx;
std::string g_fill;  // 1 MiB of text lines, none starting with '.'

struct Listener {
  Proto proto;
  int port;
  bool tls;
};

struct Conn {
  int fd = -1;
  Proto proto;
  SSL* ssl = nullptr;
  bool handshaking = false, closing = false, tls_after_flush = false, greet_after_tls = false;
  Wait wait = Wait::command;
  std::string in, out, cmd, tag, user;
  size_t out_off = 0, literal = 0, discard = 0;
  bool in_literal = false;
  uint64_t bulk = 0;    // filler bytes still to send after `out`
  std::string trailer;  // goes out after the filler
  uint32_t events = 0;
  uint64_t burst_seen = 0;
};

bool ieq(std::string_view a, const char* b) {
  return a.size() == strlen(b) && strncasecmp(a.data(), b, a.size()) == 0;
}

// Next word of an IMAP/Sieve line; understands quoted strings.
std::string word(std::string_view& s) {
  while (!s.empty() && s[0] == ' ') s.remove_prefix(1);
  std::string w;
  if (!s.empty() && s[0] == '"') {
    size_t i = 1;
    for (; i < s.size() && s[i] != '"'; i++) {
      if (s[i] == '\\' && i + 1 < s.size()) i++;
      w += s[i];
    }
    s.remove_prefix(i < s.size() ? i + 1 : i);
    return w;
  }
  size_t n = s.find(' ');
  if (n == s.npos) n = s.size();
  w = s.substr(0, n);
  s.remove_prefix(n);
  return w;
}

void say(Conn& c, std::string_view s) {
  c.out.append(s);
}

std::string imap_caps(const Conn& c) {
  std::string s = "IMAP4rev1 SASL-IR LITERAL+ ID IDLE AUTH=PLAIN";
  if (g_starttls && !c.ssl) s += " STARTTLS";
  return s;
}
std::string sieve_caps(const Conn& c) {
  std::string s =
      "\"IMPLEMENTATION\" \"mailsink\"\r\n\"SIEVE\" \"fileinto\"\r\n\"SASL\" \"PLAIN\"\r\n"
      "\"XCLIENT\" \"ADDR PORT PROTO LOGIN SESSION TTL FORWARD\"\r\n";
  if (g_starttls && !c.ssl) s += "\"STARTTLS\"\r\n";
  return s + "\"VERSION\" \"1.0\"\r\nOK \"mailsink ready\"\r\n";
}

void greet(Conn& c) {
  switch (c.proto) {
    case Proto::imap:
      say(c, "* OK [CAPABILITY " + imap_caps(c) + "] mailsink ready\r\n");
      break;
    case Proto::pop3:
      say(c, "+OK [XCLIENT] mailsink ready\r\n");
      break;
    case Proto::smtp:
      say(c, "220 mailsink ESMTP\r\n");
      break;
    case Proto::sieve:
      say(c, sieve_caps(c));
      break;
  }
}

void login_reply(Conn& c, std::string_view pass) {
  bool ok = pass != g_reject;
  (ok ? n_logins : n_refused)++;
  switch (c.proto) {
    case Proto::imap:
      if (ok)
        say(c, c.tag + " OK [CAPABILITY " + imap_caps(c) + "] Logged in\r\n");
      else
        say(c, c.tag + " NO [AUTHENTICATIONFAILED] refused\r\n");
      break;
    case Proto::pop3:
      say(c, ok ? "+OK Logged in.\r\n" : "-ERR [AUTH] refused\r\n");
      break;
    case Proto::smtp:
      say(c, ok ? "235 2.7.0 Logged in\r\n" : "535 5.7.8 refused\r\n");
      break;
    case Proto::sieve:
      say(c, ok ? "OK \"Logged in\"\r\n" : "NO \"refused\"\r\n");
      break;
  }
}

void sasl_plain(Conn& c, std::string_view b64) {
  std::string d = b64dec(b64);
  size_t last = d.rfind('\0');
  login_reply(c,
              last == d.npos ? std::string_view(g_reject) : std::string_view(d).substr(last + 1));
}

void start_bulk(Conn& c, uint64_t mib, const std::string& head, const std::string& tail) {
  n_bulk++;
  say(c, head);
  c.bulk = mib << 20;
  c.trailer = tail;
}

void start_tls(Conn& c, std::string_view ok) {
  say(c, ok);
  c.tls_after_flush = true;
  c.in.clear();
}

void imap_cmd(Conn& c, std::string_view s) {
  c.tag = word(s);
  std::string w = word(s);
  const std::string& t = c.tag;
  if (ieq(w, "NOOP"))
    say(c, t + " OK NOOP done\r\n");
  else if (ieq(w, "LOGIN")) {
    c.user = word(s);
    login_reply(c, word(s));
  } else if (ieq(w, "AUTHENTICATE")) {
    word(s);
    std::string ir = word(s);
    if (ir.empty()) {
      say(c, "+ \r\n");
      c.wait = Wait::sasl_plain;
    } else
      sasl_plain(c, ir);
  } else if (ieq(w, "ID"))
    say(c, "* ID NIL\r\n" + t + " OK ID done\r\n");
  else if (ieq(w, "CAPABILITY"))
    say(c, "* CAPABILITY " + imap_caps(c) + "\r\n" + t + " OK done\r\n");
  else if (ieq(w, "SELECT"))
    say(c, "* 1 EXISTS\r\n* OK [UIDVALIDITY 1] ok\r\n" + t + " OK [READ-WRITE] selected\r\n");
  else if (ieq(w, "IDLE")) {
    say(c, "+ idling\r\n");
    c.wait = Wait::idle;
    c.burst_seen = g_burst;
  } else if (ieq(w, "FETCH")) {
    uint64_t n = strtoull(word(s).c_str(), nullptr, 10);
    start_bulk(c, n, "* 1 FETCH (BODY[] {" + std::to_string(n << 20) + "}\r\n",
               ")\r\n" + t + " OK fetched\r\n");
  } else if (ieq(w, "APPEND"))
    say(c, t + " OK appended\r\n");
  else if (ieq(w, "STARTTLS") && g_starttls && !c.ssl)
    start_tls(c, t + " OK go\r\n");
  else if (ieq(w, "LOGOUT")) {
    say(c, "* BYE\r\n" + t + " OK LOGOUT done\r\n");
    c.closing = true;
  } else {
    n_bad++;
    say(c, t + " BAD unknown\r\n");
  }
}

void pop3_cmd(Conn& c, std::string_view s) {
  std::string w = word(s);
  if (ieq(w, "NOOP"))
    say(c, "+OK\r\n");
  else if (ieq(w, "USER"))
    say(c, "+OK\r\n");
  else if (ieq(w, "PASS"))
    login_reply(c, word(s));
  else if (ieq(w, "AUTH")) {
    word(s);
    std::string ir = word(s);
    if (ir.empty()) {
      say(c, "+ \r\n");
      c.wait = Wait::sasl_plain;
    } else
      sasl_plain(c, ir);
  } else if (ieq(w, "CAPA"))
    say(c, std::string("+OK\r\nCAPA\r\nUIDL\r\nUSER\r\nSASL PLAIN\r\n") +
               (g_starttls && !c.ssl ? "STLS\r\n" : "") + ".\r\n");
  else if (ieq(w, "XCLIENT"))
    say(c, "+OK updated\r\n");
  else if (ieq(w, "STAT"))
    say(c, "+OK 1 1048576\r\n");
  else if (ieq(w, "RETR"))
    start_bulk(c, strtoull(word(s).c_str(), nullptr, 10), "+OK follows\r\n", ".\r\n");
  else if (ieq(w, "STLS") && g_starttls && !c.ssl)
    start_tls(c, "+OK go\r\n");
  else if (ieq(w, "QUIT")) {
    say(c, "+OK bye\r\n");
    c.closing = true;
  } else {
    n_bad++;
    say(c, "-ERR unknown\r\n");
  }
}

void smtp_cmd(Conn& c, std::string_view s) {
  std::string w = word(s);
  if (ieq(w, "NOOP") || ieq(w, "RSET") || ieq(w, "MAIL") || ieq(w, "RCPT"))
    say(c, "250 2.0.0 OK\r\n");
  else if (ieq(w, "EHLO"))
    say(c, std::string("250-mailsink\r\n250-8BITMIME\r\n250-AUTH PLAIN LOGIN\r\n250-XCLIENT ADDR "
                       "PORT PROTO HELO LOGIN SESSION TTL TIMEOUT FORWARD\r\n") +
               (g_starttls && !c.ssl ? "250-STARTTLS\r\n" : "") +
               "250-ENHANCEDSTATUSCODES\r\n250 PIPELINING\r\n");
  else if (ieq(w, "HELO"))
    say(c, "250 mailsink\r\n");
  else if (ieq(w, "AUTH")) {
    std::string mech = word(s), ir = word(s);
    bool plain = ieq(mech, "PLAIN");
    if (!ir.empty() && plain)
      sasl_plain(c, ir);
    else if (plain) {
      say(c, "334 \r\n");
      c.wait = Wait::sasl_plain;
    } else if (!ir.empty()) {
      say(c, "334 UGFzc3dvcmQ6\r\n");
      c.wait = Wait::sasl_pass;
    } else {
      say(c, "334 VXNlcm5hbWU6\r\n");
      c.wait = Wait::sasl_user;
    }
  } else if (ieq(w, "XCLIENT"))
    greet(c);
  else if (ieq(w, "DATA")) {
    say(c, "354 go\r\n");
    c.wait = Wait::data;
  } else if (ieq(w, "STARTTLS") && g_starttls && !c.ssl)
    start_tls(c, "220 2.0.0 go\r\n");
  else if (ieq(w, "QUIT")) {
    say(c, "221 2.0.0 bye\r\n");
    c.closing = true;
  } else {
    n_bad++;
    say(c, "500 5.5.1 unknown\r\n");
  }
}

void sieve_cmd(Conn& c, std::string_view s) {
  std::string w = word(s);
  if (ieq(w, "NOOP"))
    say(c, "OK \"done\"\r\n");
  else if (ieq(w, "CAPABILITY"))
    say(c, sieve_caps(c));
  else if (ieq(w, "AUTHENTICATE")) {
    word(s);
    std::string ir = word(s);
    if (ir.empty()) {
      say(c, "\"\"\r\n");
      c.wait = Wait::sasl_plain;
    } else
      sasl_plain(c, ir);
  } else if (ieq(w, "XCLIENT"))
    say(c, "OK \"updated\"\r\n");
  else if (ieq(w, "GETSCRIPT")) {
    uint64_t n = strtoull(word(s).c_str(), nullptr, 10);
    start_bulk(c, n, "{" + std::to_string(n << 20) + "}\r\n", "\r\nOK \"done\"\r\n");
  } else if (ieq(w, "STARTTLS") && g_starttls && !c.ssl)
    start_tls(c, "OK \"go\"\r\n");
  else if (ieq(w, "LOGOUT")) {
    say(c, "OK \"bye\"\r\n");
    c.closing = true;
  } else {
    n_bad++;
    say(c, "NO \"unknown\"\r\n");
  }
}

// One complete command line (literals already folded in as quoted strings).
void command(Conn& c, std::string_view s) {
  switch (c.wait) {
    case Wait::idle:
      c.wait = Wait::command;
      say(c, c.tag + " OK IDLE done\r\n");
      return;
    case Wait::sasl_plain:
      c.wait = Wait::command;
      if (c.proto == Proto::sieve) {
        std::string w = word(s);
        sasl_plain(c, w);
      } else
        sasl_plain(c, s);
      return;
    case Wait::sasl_user:
      say(c, "334 UGFzc3dvcmQ6\r\n");
      c.wait = Wait::sasl_pass;
      return;
    case Wait::sasl_pass:
      c.wait = Wait::command;
      login_reply(c, b64dec(s));
      return;
    case Wait::data:
      if (s == ".") {
        c.wait = Wait::command;
        say(c, "250 2.0.0 queued\r\n");
      }
      return;
    case Wait::command:
      break;
  }
  switch (c.proto) {
    case Proto::imap:
      imap_cmd(c, s);
      break;
    case Proto::pop3:
      pop3_cmd(c, s);
      break;
    case Proto::smtp:
      smtp_cmd(c, s);
      break;
    case Proto::sieve:
      sieve_cmd(c, s);
      break;
  }
}

void parse(Conn& c) {
  size_t pos = 0;
  while (!c.closing && !c.tls_after_flush && c.bulk == 0) {
    if (c.discard) {
      size_t n = std::min(c.discard, c.in.size() - pos);
      pos += n;
      c.discard -= n;
      if (c.discard) break;
    }
    if (c.in_literal) {
      if (c.in.size() - pos < c.literal) break;
      c.cmd += '"';
      for (size_t i = 0; i < c.literal; i++) {
        char ch = c.in[pos + i];
        if (ch == '"' || ch == '\\') c.cmd += '\\';
        c.cmd += ch;
      }
      c.cmd += '"';
      pos += c.literal;
      c.in_literal = false;
    }
    size_t nl = c.in.find('\n', pos);
    if (nl == c.in.npos) break;
    size_t end = nl > pos && c.in[nl - 1] == '\r' ? nl - 1 : nl;
    std::string_view line(c.in.data() + pos, end - pos);
    pos = nl + 1;
    if ((c.proto == Proto::imap || c.proto == Proto::sieve) && line.size() > 2 &&
        line.back() == '}') {
      size_t b = line.rfind('{');
      if (b != line.npos) {
        size_t n = strtoull(line.data() + b + 1, nullptr, 10);
        bool nonsync = line[line.size() - 2] == '+';
        if (!nonsync && c.proto == Proto::imap) say(c, "+ go\r\n");
        c.cmd += line.substr(0, b);
        if (n > 65536)
          c.discard = n;
        else {
          c.literal = n;
          c.in_literal = true;
        }
        continue;
      }
    }
    if (c.cmd.empty())
      command(c, line);
    else {
      c.cmd += line;
      std::string full;
      full.swap(c.cmd);
      command(c, full);
    }
  }
  c.in.erase(0, pos);
}

enum class Io { ok, again, gone };

Io raw_read(Conn& c, char* b, size_t n, size_t& got) {
  if (c.ssl) {
    int r = SSL_read(c.ssl, b, int(n));
    if (r > 0) {
      got = size_t(r);
      return Io::ok;
    }
    int e = SSL_get_error(c.ssl, r);
    ERR_clear_error();
    return e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE ? Io::again : Io::gone;
  }
  ssize_t r = read(c.fd, b, n);
  if (r > 0) {
    got = size_t(r);
    return Io::ok;
  }
  return r < 0 && (errno == EAGAIN || errno == EINTR) ? Io::again : Io::gone;
}
Io raw_write(Conn& c, const char* b, size_t n, size_t& put) {
  if (c.ssl) {
    int r = SSL_write(c.ssl, b, int(n));
    if (r > 0) {
      put = size_t(r);
      return Io::ok;
    }
    int e = SSL_get_error(c.ssl, r);
    ERR_clear_error();
    return e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE ? Io::again : Io::gone;
  }
  ssize_t r = send(c.fd, b, n, MSG_NOSIGNAL);
  if (r >= 0) {
    put = size_t(r);
    return Io::ok;
  }
  return errno == EAGAIN || errno == EINTR ? Io::again : Io::gone;
}

class Worker {
 public:
  explicit Worker(const std::string& ip, const std::vector<Listener>& ls, bool shared)
      : listeners_(ls) {
    ep_ = epoll_create1(EPOLL_CLOEXEC);
    for (size_t i = 0; i < ls.size(); i++) {
      lfd_.push_back(listen4(ip, ls[i].port, shared));
      epoll_event e{};
      e.events = EPOLLIN;
      e.data.u64 = i;
      epoll_ctl(ep_, EPOLL_CTL_ADD, lfd_[i], &e);
    }
  }
  void run() {
    epoll_event ev[256];
    uint64_t seen = 0;
    for (;;) {
      int n = epoll_wait(ep_, ev, 256, 100);
      uint64_t b = g_burst;
      if (b != seen) {
        seen = b;
        burst(b);
      }
      for (int i = 0; i < n; i++) {
        if (ev[i].data.u64 < listeners_.size())
          accept_some(ev[i].data.u64);
        else
          service(static_cast<Conn*>(ev[i].data.ptr), ev[i].events);
      }
      for (Conn* c : dead_) delete c;
      dead_.clear();
    }
  }

 private:
  void accept_some(size_t i) {
    for (int k = 0; k < 64; k++) {
      int fd = accept4(lfd_[i], nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) return;
      nodelay(fd);
      n_conns++;
      Conn* c = new Conn;
      c->fd = fd;
      c->proto = listeners_[i].proto;
      if (listeners_[i].tls) {
        begin_tls(*c);
        c->greet_after_tls = true;
      } else
        greet(*c);
      c->events = EPOLLIN;
      epoll_event e{};
      e.events = c->events;
      e.data.ptr = c;
      epoll_ctl(ep_, EPOLL_CTL_ADD, fd, &e);
      all_.insert(c);
      service(c, 0);
    }
  }
  void begin_tls(Conn& c) {
    c.ssl = SSL_new(g_ctx);
    SSL_set_fd(c.ssl, c.fd);
    SSL_set_accept_state(c.ssl);
    c.handshaking = true;
  }
  void close_conn(Conn* c) {
    if (c->ssl) SSL_free(c->ssl);
    close(c->fd);
    all_.erase(c);
    dead_.push_back(c);
    c->fd = -1;
  }
  void burst(uint64_t) {
    std::string line = "* OK burst " + std::to_string(now_ns()) + "\r\n";
    std::vector<Conn*> v(all_.begin(), all_.end());
    for (Conn* c : v)
      if (c->fd >= 0 && c->wait == Wait::idle) {
        say(*c, line);
        service(c, 0);
      }
  }
  void service(Conn* c, uint32_t) {
    if (c->fd < 0) return;
    if (c->handshaking) {
      int r = SSL_do_handshake(c->ssl);
      if (r != 1) {
        int e = SSL_get_error(c->ssl, r);
        ERR_clear_error();
        if (e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE) {
          close_conn(c);
          return;
        }
        arm(c, e == SSL_ERROR_WANT_WRITE);
        return;
      }
      c->handshaking = false;
      if (c->greet_after_tls) greet(*c);
    }
    char buf[16384];
    bool gone = false;
    if (c->bulk == 0 && c->out.empty()) {
      for (int k = 0; k < 4; k++) {
        size_t got = 0;
        Io r = raw_read(*c, buf, sizeof buf, got);
        if (r == Io::ok) {
          c->in.append(buf, got);
          parse(*c);
          if (!c->out.empty() || c->bulk || (!c->ssl && got < sizeof buf)) break;
        } else {
          gone = r == Io::gone;
          break;
        }
      }
      if (gone) {
        close_conn(c);
        return;
      }
    }
    flush(c);
  }
  void flush(Conn* c) {
    size_t budget = 1 << 20;
    for (;;) {
      if (c->out_off < c->out.size()) {
        size_t put = 0;
        Io r = raw_write(*c, c->out.data() + c->out_off, c->out.size() - c->out_off, put);
        if (r == Io::gone) {
          close_conn(c);
          return;
        }
        if (r == Io::again) {
          arm(c, true);
          return;
        }
        c->out_off += put;
        if (c->out_off < c->out.size()) continue;
        c->out.clear();
        c->out_off = 0;
      } else
        c->out.clear(), c->out_off = 0;
      if (c->bulk) {
        size_t off = (g_fill.size() - (c->bulk % g_fill.size())) % g_fill.size();
        size_t n = std::min<uint64_t>(std::min<uint64_t>(c->bulk, g_fill.size() - off), 131072),
               put = 0;
        Io r = raw_write(*c, g_fill.data() + off, n, put);
        if (r == Io::gone) {
          close_conn(c);
          return;
        }
        if (r == Io::again) {
          arm(c, true);
          return;
        }
        c->bulk -= put;
        if (c->bulk == 0) {
          c->out.swap(c->trailer);
          c->trailer.clear();
          continue;
        }
        if (put >= budget) {
          arm(c, true);
          return;
        }
        budget -= put;
        continue;
      }
      break;
    }
    if (c->closing) {
      if (c->ssl) SSL_shutdown(c->ssl);
      close_conn(c);
      return;
    }
    if (c->tls_after_flush) {
      c->tls_after_flush = false;
      begin_tls(*c);
      c->greet_after_tls = c->proto == Proto::sieve;  // only ManageSieve repeats its capabilities
      arm(c, false);
      return;
    }
    if (!c->in.empty()) {
      parse(*c);
      if (!c->out.empty() || c->bulk || c->closing) {
        flush(c);
        return;
      }
    }
    arm(c, false);
    if (c->ssl && SSL_pending(c->ssl) > 0) service(c, 0);
  }
  void arm(Conn* c, bool want_write) {
    uint32_t want = want_write ? EPOLLOUT : EPOLLIN;
    if (want == c->events) return;
    c->events = want;
    epoll_event e{};
    e.events = want;
    e.data.ptr = c;
    epoll_ctl(ep_, EPOLL_CTL_MOD, c->fd, &e);
  }

  std::vector<Listener> listeners_;
  std::vector<int> lfd_;
  std::set<Conn*> all_;
  std::vector<Conn*> dead_;
  int ep_;
};

}  // namespace

int main(int argc, char** argv) {
  Args a(argc, argv);
  errno = 0;
  signal(SIGPIPE, SIG_IGN);
  raise_fd_limit();
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  g_reject = a.str("reject-pass", "wrong");
  g_starttls = a.has("starttls");
  if (a.has("cert")) {
    g_ctx = server_ctx(a.str("cert"), a.str("key"));
    SSL_CTX_set_num_tickets(g_ctx, 1);
  }
  const char* alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (size_t i = 0; g_fill.size() < (1u << 20); i++) {  // 64-byte lines
    for (size_t k = 0; k < 62; k++) g_fill += alphabet[(i * 7 + k * 13) & 63];
    g_fill += "\r\n";
  }
  std::vector<Listener> ls;
  auto add = [&](const char* opt, Proto p, bool tls) {
    if (a.has(opt)) ls.push_back({p, int(a.num(opt)), tls});
    if (a.has(opt) && tls && !g_ctx) die("--%s needs --cert and --key", opt);
  };
  add("imap", Proto::imap, false);
  add("imaps", Proto::imap, true);
  add("pop3", Proto::pop3, false);
  add("pop3s", Proto::pop3, true);
  add("submission", Proto::smtp, false);
  add("submissions", Proto::smtp, true);
  add("sieve", Proto::sieve, false);
  if (ls.empty()) die("no ports given");
  long threads = a.num("threads", 1);
  std::vector<Worker*> ws;
  for (long i = 0; i < threads; i++)
    ws.push_back(new Worker(a.str("ip", "127.0.0.1"), ls, threads > 1));
  for (Worker* w : ws) std::thread([w] { w->run(); }).detach();
  printf("READY\n");
  fflush(stdout);
  for (;;) {
    int sig = 0;
    sigwait(&set, &sig);
    if (sig == SIGUSR1) {
      g_burst++;
      continue;
    }
    printf("{\"conns\":%lu,\"logins\":%lu,\"refused\":%lu,\"bulk\":%lu,\"bad_commands\":%lu}\n",
           n_conns.load(), n_logins.load(), n_refused.load(), n_bulk.load(), n_bad.load());
    fflush(stdout);
    _exit(0);
  }
}
