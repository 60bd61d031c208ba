// floorproxy: the least work any IMAP login proxy has to do, as a floor to compare with.
// One process, no checks, no logs, no auth lookup, no timeouts: greet, take "tag LOGIN user pass",
// connect to the backend, skip its greeting, pass the LOGIN on, then copy bytes both ways.
// Not a proxy anybody should use.
//   floorproxy --port P --backend P [--tls --cert F --key F] [--backend-tls]
#include <signal.h>
#include <sys/epoll.h>

#include <string>
#include <vector>

#include "net.h"

namespace {
struct Pair;
struct End {
  Pair* pair = nullptr;
  int fd = -1;
  SSL* ssl = nullptr;
  bool shaking = false;
  uint32_t events = 0;
  std::string pend;  // bytes this end has not accepted yet
};
enum class St { line, greeting, relay };
struct Pair {
  End c, b;
  St st = St::line;
  std::string login;
  bool dead = false;
};
int ep, backend_port;
bool backend_tls;
SSL_CTX *sctx, *cctx;
std::vector<Pair*> dead;
char buf[65536];

void arm(End& e, uint32_t want) {
  if (e.fd < 0 || want == e.events) return;
  epoll_event v{};
  v.events = want;
  v.data.ptr = &e;
  epoll_ctl(ep, e.events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, e.fd, &v);
  e.events = want;
}
void shut(Pair* p) {
  if (p->dead) return;
  p->dead = true;
  for (End* e : {&p->c, &p->b}) {
    if (e->ssl) {
      if (!e->shaking) SSL_shutdown(e->ssl);
      ERR_clear_error();
      SSL_free(e->ssl);
    }
    if (e->fd >= 0) close(e->fd);
  }
  dead.push_back(p);
}
// Bytes moved; 0 means try later, -1 means gone.
ssize_t get(End& e) {
  if (e.ssl) {
    int r = SSL_read(e.ssl, buf, sizeof buf);
    if (r > 0) return r;
    int k = SSL_get_error(e.ssl, r);
    ERR_clear_error();
    return k == SSL_ERROR_WANT_READ || k == SSL_ERROR_WANT_WRITE ? 0 : -1;
  }
  ssize_t r = read(e.fd, buf, sizeof buf);
  return r > 0 ? r : r < 0 && errno == EAGAIN ? 0 : -1;
}
ssize_t put(End& e, const char* p, size_t n) {
  if (e.ssl) {
    int r = SSL_write(e.ssl, p, int(n));
    if (r > 0) return r;
    int k = SSL_get_error(e.ssl, r);
    ERR_clear_error();
    return k == SSL_ERROR_WANT_READ || k == SSL_ERROR_WANT_WRITE ? 0 : -1;
  }
  ssize_t r = send(e.fd, p, n, MSG_NOSIGNAL);
  return r >= 0 ? r : errno == EAGAIN ? 0 : -1;
}
bool give(End& e, const char* p, size_t n) {
  if (e.pend.empty()) {
    ssize_t r;
    while (n && (r = put(e, p, n)) != 0) {
      if (r < 0) return false;
      p += r;
      n -= size_t(r);
    }
  }
  if (n) e.pend.append(p, n);
  return true;
}
bool shake(End& e) {  // true: finished; on failure the pair is closed
  int r = SSL_do_handshake(e.ssl);
  if (r == 1) {
    e.shaking = false;
    return true;
  }
  int k = SSL_get_error(e.ssl, r);
  ERR_clear_error();
  if (k == SSL_ERROR_WANT_READ)
    arm(e, EPOLLIN);
  else if (k == SSL_ERROR_WANT_WRITE)
    arm(e, EPOLLOUT);
  else
    shut(e.pair);
  return false;
}
void greet(Pair* p) {
  static const char g[] = "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] floor ready\r\n";
  give(p->c, g, sizeof g - 1);
}
void dial(Pair* p) {
  End& b = p->b;
  b.pair = p;
  b.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  nodelay(b.fd);
  sockaddr_in a = addr4("127.0.0.1", backend_port);
  if (connect(b.fd, (sockaddr*)&a, sizeof a) < 0 && errno != EINPROGRESS) {
    shut(p);
    return;
  }
  if (backend_tls) {
    b.ssl = SSL_new(cctx);
    SSL_set_fd(b.ssl, b.fd);
    SSL_set_connect_state(b.ssl);
    b.shaking = true;
    arm(b, EPOLLOUT);
  } else
    arm(b, EPOLLIN);
}
void serve(End* e) {
  Pair* p = e->pair;
  if (p->dead) return;
  if (e->shaking) {
    if (!shake(*e)) return;
    if (e == &p->c) greet(p);
  }
  End& o = e == &p->c ? p->b : p->c;
  if (!e->pend.empty()) {
    ssize_t r = put(*e, e->pend.data(), e->pend.size());
    if (r < 0) {
      shut(p);
      return;
    }
    e->pend.erase(0, size_t(r));
    if (e->pend.empty()) e->pend.shrink_to_fit();
  }
  for (int k = 0; k < 16 && o.pend.empty(); k++) {
    ssize_t r = get(*e);
    if (r < 0) {
      shut(p);
      return;
    }
    if (r == 0) break;
    if (p->st == St::relay) {
      if (!give(o, buf, size_t(r))) {
        shut(p);
        return;
      }
    } else if (e == &p->c) {
      p->login.append(buf, size_t(r));
      if (p->login.find('\n') != p->login.npos) {
        dial(p);
        arm(*e, 0u | EPOLLRDHUP);
        return;
      }
    } else if (memchr(buf, '\n', size_t(r))) {
      p->st = St::relay;
      if (!give(*e, p->login.data(), p->login.size())) {
        shut(p);
        return;
      }
      p->login = std::string();
      arm(p->c, EPOLLIN);
    }
    if (!e->ssl && size_t(r) < sizeof buf) break;
  }
  arm(*e, (o.pend.empty() ? EPOLLIN : 0u) | (e->pend.empty() ? 0u : EPOLLOUT) | EPOLLRDHUP);
  if (o.fd >= 0 && p->st == St::relay && !o.shaking)
    arm(o, (e->pend.empty() ? EPOLLIN : 0u) | (o.pend.empty() ? 0u : EPOLLOUT) | EPOLLRDHUP);
}
}  // namespace

int main(int argc, char** argv) {
  Args a(argc, argv);
  errno = 0;
  signal(SIGPIPE, SIG_IGN);
  raise_fd_limit();
  backend_port = int(a.num("backend"));
  backend_tls = a.has("backend-tls");
  bool tls = a.has("tls");
  if (tls) sctx = server_ctx(a.str("cert"), a.str("key"));
  cctx = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_verify(cctx, SSL_VERIFY_NONE, nullptr);
  SSL_CTX_set_mode(cctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                             SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  ep = epoll_create1(0);
  End listener;
  listener.fd = listen4("127.0.0.1", int(a.num("port")), false);
  arm(listener, EPOLLIN);
  epoll_event ev[256];
  for (;;) {
    int n = epoll_wait(ep, ev, 256, -1);
    for (int i = 0; i < n; i++) {
      End* e = static_cast<End*>(ev[i].data.ptr);
      if (e != &listener) {
        serve(e);
        continue;
      }
      int fd;
      while ((fd = accept4(listener.fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        nodelay(fd);
        Pair* p = new Pair;
        p->c.pair = p;
        p->c.fd = fd;
        if (tls) {
          p->c.ssl = SSL_new(sctx);
          SSL_set_fd(p->c.ssl, fd);
          SSL_set_accept_state(p->c.ssl);
          p->c.shaking = true;
        } else
          greet(p);
        arm(p->c, EPOLLIN);
      }
    }
    for (Pair* p : dead) delete p;
    dead.clear();
  }
}
