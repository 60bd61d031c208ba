// Small helpers shared by the benchmark tools. Linux only.
#pragma once
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <map>
#include <string>
#include <string_view>

[[noreturn]] inline void die(const char* fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  vfprintf(stderr, fmt, ap);
  va_end(ap);
  if (errno) fprintf(stderr, " (%s)", strerror(errno));
  fputc('\n', stderr);
  exit(2);
}

inline uint64_t clock_ns(clockid_t c) {
  timespec t;
  clock_gettime(c, &t);
  return uint64_t(t.tv_sec) * 1000000000u + uint64_t(t.tv_nsec);
}
inline uint64_t now_ns() {
  return clock_ns(CLOCK_MONOTONIC);
}

inline void raise_fd_limit() {
  rlimit r;
  if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
    r.rlim_cur = r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);
  }
}

// "--name value" and bare "--flag" (value "1").
struct Args {
  std::map<std::string, std::string> v;
  Args(int argc, char** argv) {
    for (int i = 1; i < argc; i++) {
      if (strncmp(argv[i], "--", 2) != 0) die("unexpected argument %s", argv[i]);
      std::string k = argv[i] + 2;
      if (i + 1 < argc && strncmp(argv[i + 1], "--", 2) != 0)
        v[k] = argv[++i];
      else
        v[k] = "1";
    }
  }
  std::string str(const char* k, const char* d = "") const {
    auto it = v.find(k);
    return it == v.end() ? d : it->second;
  }
  long num(const char* k, long d = 0) const {
    auto it = v.find(k);
    return it == v.end() ? d : strtol(it->second.c_str(), nullptr, 10);
  }
  double real(const char* k, double d = 0) const {
    auto it = v.find(k);
    return it == v.end() ? d : strtod(it->second.c_str(), nullptr);
  }
  bool has(const char* k) const { return v.count(k) > 0; }
};

inline sockaddr_in addr4(const std::string& ip, int port) {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(uint16_t(port));
  if (inet_pton(AF_INET, ip.c_str(), &a.sin_addr) != 1) die("bad IPv4 address %s", ip.c_str());
  return a;
}

inline int listen4(const std::string& ip, int port, bool reuseport) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
  if (fd < 0) die("socket");
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (reuseport) setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
  sockaddr_in a = addr4(ip, port);
  if (bind(fd, (sockaddr*)&a, sizeof a) < 0) die("bind %s:%d", ip.c_str(), port);
  if (listen(fd, 4096) < 0) die("listen");
  return fd;
}

inline void nodelay(int fd) {
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

inline SSL_CTX* server_ctx(const std::string& cert, const std::string& key) {
  SSL_CTX* c = SSL_CTX_new(TLS_server_method());
  if (!c || SSL_CTX_use_certificate_chain_file(c, cert.c_str()) != 1 ||
      SSL_CTX_use_PrivateKey_file(c, key.c_str(), SSL_FILETYPE_PEM) != 1) {
    ERR_print_errors_fp(stderr);
    die("cannot load certificate %s / key %s", cert.c_str(), key.c_str());
  }
  SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                          SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  return c;
}

inline std::string b64enc(std::string_view s) {
  std::string o((s.size() + 2) / 3 * 4 + 1, 0);
  int n = EVP_EncodeBlock((unsigned char*)o.data(), (const unsigned char*)s.data(), int(s.size()));
  o.resize(size_t(n));
  return o;
}
inline std::string b64dec(std::string_view s) {
  if (s.empty() || s.size() % 4) return {};
  std::string o(s.size() / 4 * 3 + 1, 0);
  int n = EVP_DecodeBlock((unsigned char*)o.data(), (const unsigned char*)s.data(), int(s.size()));
  if (n < 0) return {};
  size_t pad = 0;
  while (pad < 2 && pad < s.size() && s[s.size() - 1 - pad] == '=') pad++;
  o.resize(size_t(n) - pad);
  return o;
}
