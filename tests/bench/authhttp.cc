// authhttp: the cheapest answer to nginx's auth_http requests: everyone may log in.
//   authhttp --port P [--imap P] [--pop3 P] [--smtp P]     (backend ports handed out)
#include <signal.h>
#include <sys/epoll.h>

#include "net.h"

int main(int argc, char** argv) {
  Args a(argc, argv);
  errno = 0;
  signal(SIGPIPE, SIG_IGN);
  raise_fd_limit();
  auto answer = [&](const char* opt) {
    return "HTTP/1.0 200 OK\r\nAuth-Status: OK\r\nAuth-Server: 127.0.0.1\r\nAuth-Port: " +
           a.str(opt, "1") + "\r\n\r\n";
  };
  const std::string imap = answer("imap"), pop3 = answer("pop3"), smtp = answer("smtp"),
                    bad = "HTTP/1.0 400 Bad Request\r\n\r\n";
  int ep = epoll_create1(0), lfd = listen4("127.0.0.1", int(a.num("port")), false);
  epoll_event e{}, ev[128];
  e.events = EPOLLIN;
  e.data.fd = lfd;
  epoll_ctl(ep, EPOLL_CTL_ADD, lfd, &e);
  std::map<int, std::string> in;
  for (;;) {
    int n = epoll_wait(ep, ev, 128, -1);
    for (int i = 0; i < n; i++) {
      int fd = ev[i].data.fd;
      if (fd == lfd) {
        while ((fd = accept4(lfd, nullptr, nullptr, SOCK_NONBLOCK)) >= 0) {
          e.data.fd = fd;
          epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
        }
        continue;
      }
      char buf[4096];
      ssize_t r = read(fd, buf, sizeof buf);
      if (r < 0 && errno == EAGAIN) continue;
      std::string& s = in[fd];
      if (r > 0) s.append(buf, size_t(r));
      if (r > 0 && s.find("\r\n\r\n") == s.npos) continue;
      if (r > 0) {
        const std::string& o = s.find("Auth-Protocol: imap") != s.npos   ? imap
                               : s.find("Auth-Protocol: pop3") != s.npos ? pop3
                               : s.find("Auth-Protocol: smtp") != s.npos ? smtp
                                                                         : bad;
        if (send(fd, o.data(), o.size(), MSG_NOSIGNAL) < 0) errno = 0;
      }
      in.erase(fd);
      close(fd);
    }
  }
}
