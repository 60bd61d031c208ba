// limits: what this machine can do at best, to judge a proxy's figures against.
//   limits --cert F --key F [--only NAME]
// Prints one "name value unit" line each. CPU figures are CPU time, not wall time.
#include <malloc.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <algorithm>
#include <thread>
#include <vector>

#include "net.h"

namespace {
SSL_CTX *srv, *cli;
std::string only;

void out(const char* name, double v, const char* unit) {
  printf("%-44s %12.3f %s\n", name, v, unit);
  fflush(stdout);
}
bool want(const char* n) {
  return only.empty() || only == n;
}
uint64_t cpu() {
  return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}
uint64_t tcpu() {
  return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

void tcp_pair(int& a, int& b) {
  static int lfd = -1;
  static sockaddr_in addr;
  if (lfd < 0) {
    lfd = listen4("127.0.0.1", 0, false);
    fcntl(lfd, F_SETFL, 0);
    socklen_t n = sizeof addr;
    getsockname(lfd, (sockaddr*)&addr, &n);
  }
  a = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(a, (sockaddr*)&addr, sizeof addr) < 0) die("connect");
  b = accept(lfd, nullptr, nullptr);
  if (b < 0) die("accept");
  nodelay(a);
  nodelay(b);
}

struct Cost {
  uint64_t server = 0, client = 0;
};
// One handshake over memory buffers; CPU of either side, creation and release included.
Cost mem_handshake(SSL_SESSION** keep) {
  Cost k;
  uint64_t t = tcpu();
  SSL* s = SSL_new(srv);
  k.server += tcpu() - t;
  SSL* c = SSL_new(cli);
  BIO *b1, *b2;
  BIO_new_bio_pair(&b1, 65536, &b2, 65536);
  SSL_set_bio(s, b1, b1);
  SSL_set_bio(c, b2, b2);
  SSL_set_accept_state(s);
  SSL_set_connect_state(c);
  if (keep && *keep) SSL_set_session(c, *keep);
  for (int i = 0; i < 10 && !(SSL_is_init_finished(s) && SSL_is_init_finished(c)); i++) {
    t = tcpu();
    SSL_do_handshake(c);
    k.client += tcpu() - t;
    t = tcpu();
    SSL_do_handshake(s);
    k.server += tcpu() - t;
  }
  if (!SSL_is_init_finished(s) || !SSL_is_init_finished(c)) die("handshake failed");
  char ch = 'x';
  t = tcpu();
  SSL_write(s, &ch, 1);
  k.server += tcpu() - t;
  SSL_read(c, &ch, 1);  // picks up the tickets too
  if (keep) {
    if (*keep) SSL_SESSION_free(*keep);
    *keep = SSL_get1_session(c);
  }
  ERR_clear_error();
  SSL_shutdown(c);
  t = tcpu();
  SSL_shutdown(s);
  SSL_free(s);
  k.server += tcpu() - t;
  SSL_free(c);
  return k;
}

void handshakes() {
  const int n = 2000;
  SSL_CTX_set_session_cache_mode(cli, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  for (int resumed = 0; resumed < 4;
       resumed++) {  // 0 full, 1 resumed, 2 full with one ticket, 3 without
    SSL_CTX_set_num_tickets(srv, resumed < 2 ? 2 : size_t(3 - resumed));
    bool again = resumed == 1;
    Cost sum;
    SSL_SESSION* keep = nullptr;
    for (int i = 0; i < 100; i++) mem_handshake(again ? &keep : nullptr);
    for (int i = 0; i < n; i++) {
      Cost k = mem_handshake(again ? &keep : nullptr);
      sum.server += k.server;
      sum.client += k.client;
    }
    const char* names[] = {"tls13_full_server_cpu", "tls13_resumed_server_cpu",
                           "tls13_full_server_cpu_1_ticket", "tls13_full_server_cpu_no_ticket"};
    out(names[resumed], double(sum.server) / n / 1e3, "us");
    if (resumed < 2)
      out(again ? "tls13_resumed_client_cpu" : "tls13_full_client_cpu",
          double(sum.client) / n / 1e3, "us");
  }
  SSL_CTX_set_num_tickets(srv, 2);
}

// accept + (TLS handshake) + one line each way + close, a blocking single-threaded server.
void accept_loop(bool tls) {
  int lfd = listen4("127.0.0.1", 0, false);
  fcntl(lfd, F_SETFL, 0);
  sockaddr_in a{};
  socklen_t len = sizeof a;
  getsockname(lfd, (sockaddr*)&a, &len);
  const int n = tls ? 2000 : 10000;
  pid_t kid = fork();
  if (kid == 0) {
    for (int i = 0; i < n; i++) {
      int fd = socket(AF_INET, SOCK_STREAM, 0);
      nodelay(fd);
      char b[64];
      if (connect(fd, (sockaddr*)&a, sizeof a) < 0) _exit(1);
      if (tls) {
        SSL* s = SSL_new(cli);
        SSL_set_fd(s, fd);
        if (SSL_connect(s) != 1 || SSL_read(s, b, sizeof b) <= 0 || SSL_write(s, "x\n", 2) != 2)
          _exit(1);
        SSL_read(s, b, sizeof b);
        SSL_free(s);
      } else if (read(fd, b, sizeof b) <= 0 || write(fd, "x\n", 2) != 2)
        _exit(1);
      else if (read(fd, b, sizeof b) < 0)
        _exit(1);
      close(fd);
    }
    _exit(0);
  }
  uint64_t c0 = cpu(), w0 = now_ns();
  for (int i = 0; i < n; i++) {
    int fd = accept(lfd, nullptr, nullptr);
    nodelay(fd);
    char b[64];
    if (tls) {
      SSL* s = SSL_new(srv);
      SSL_set_fd(s, fd);
      if (SSL_accept(s) != 1 || SSL_write(s, "hello\r\n", 7) != 7 || SSL_read(s, b, sizeof b) <= 0)
        die("TLS server");
      SSL_shutdown(s);
      SSL_free(s);
    } else if (write(fd, "hello\r\n", 7) != 7 || read(fd, b, sizeof b) <= 0)
      die("server");
    close(fd);
  }
  uint64_t c1 = cpu(), w1 = now_ns();
  int st = 0;
  waitpid(kid, &st, 0);
  close(lfd);
  if (st) die("client failed");
  out(tls ? "accept_tls_close_server_cpu" : "accept_close_server_cpu", double(c1 - c0) / n / 1e3,
      "us");
  out(tls ? "accept_tls_close_serial_rate" : "accept_close_serial_rate",
      n / (double(w1 - w0) / 1e9), "1/s (one client, one server)");
}

void memory_copy() {
  for (size_t size : {size_t(65536), size_t(64) << 20}) {
    char *a = (char*)malloc(size), *b = (char*)malloc(size);
    memset(a, 1, size);
    memset(b, 2, size);
    uint64_t total = 0, t = now_ns();
    while (total < (uint64_t(8) << 30)) {
      memcpy(b, a, size);
      asm volatile("" ::"r"(b) : "memory");
      total += size;
    }
    out(size == 65536 ? "memcpy_64KiB" : "memcpy_64MiB", double(total) / double(now_ns() - t),
        "GB/s");
    free(a);
    free(b);
  }
}

// A sender, optionally a relay, and a receiver, each in its own process.
void stream(const char* name, size_t chunk, bool splicing, bool relay) {
  int a, b, c = -1, d = -1;
  tcp_pair(a, b);
  if (relay) tcp_pair(c, d);
  const uint64_t total = uint64_t(4) << 30;
  uint64_t* shared =
      (uint64_t*)mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  uint64_t w0 = now_ns();
  pid_t tx = fork();
  if (tx == 0) {
    std::vector<char> buf(131072, 'x');
    for (uint64_t n = 0; n < total;) {
      ssize_t r = write(a, buf.data(), std::min<uint64_t>(buf.size(), total - n));
      if (r <= 0) _exit(1);
      n += uint64_t(r);
    }
    shared[0] = cpu();
    _exit(0);
  }
  pid_t rl = -1;
  if (relay) {
    rl = fork();
    if (rl == 0) {
      uint64_t c0 = cpu();
      if (splicing) {
        int p[2];
        if (pipe(p) < 0) _exit(1);
        fcntl(p[1], F_SETPIPE_SZ, int(chunk));
        for (uint64_t n = 0; n < total;) {
          ssize_t r = splice(b, nullptr, p[1], nullptr, chunk, SPLICE_F_MOVE);
          if (r <= 0) _exit(1);
          for (ssize_t left = r; left > 0;) {
            ssize_t w = splice(p[0], nullptr, c, nullptr, size_t(left), SPLICE_F_MOVE);
            if (w <= 0) _exit(1);
            left -= w;
          }
          n += uint64_t(r);
        }
      } else {
        std::vector<char> buf(chunk);
        for (uint64_t n = 0; n < total;) {
          ssize_t r = read(b, buf.data(), chunk);
          if (r <= 0) _exit(1);
          for (ssize_t o = 0; o < r;) {
            ssize_t w = write(c, buf.data() + o, size_t(r - o));
            if (w <= 0) _exit(1);
            o += w;
          }
          n += uint64_t(r);
        }
      }
      shared[1] = cpu() - c0;
      _exit(0);
    }
  }
  std::vector<char> buf(262144);
  uint64_t c0 = cpu();
  for (uint64_t n = 0; n < total;) {
    ssize_t r = read(relay ? d : b, buf.data(), buf.size());
    if (r <= 0) die("stream");
    n += uint64_t(r);
  }
  uint64_t rx = cpu() - c0;
  double secs = double(now_ns() - w0) / 1e9, gb = double(total) / 1e9;
  int st;
  waitpid(tx, &st, 0);
  if (relay) waitpid(rl, &st, 0);
  char line[96];
  snprintf(line, sizeof line, "%s_rate", name);
  out(line, gb / secs, "GB/s");
  if (relay) {
    snprintf(line, sizeof line, "%s_cpu", name);
    out(line, double(shared[1]) / 1e9 / gb, "CPU s/GB (relay only)");
  } else {
    snprintf(line, sizeof line, "%s_cpu", name);
    out(line, double(shared[0] + rx) / 1e9 / gb, "CPU s/GB (both ends)");
  }
  munmap(shared, 4096);
  close(a);
  close(b);
  if (relay) {
    close(c);
    close(d);
  }
}

void records() {
  SSL *s = SSL_new(srv), *c = SSL_new(cli);
  BIO *b1, *b2;
  BIO_new_bio_pair(&b1, 1 << 17, &b2, 1 << 17);
  SSL_set_bio(s, b1, b1);
  SSL_set_bio(c, b2, b2);
  SSL_set_accept_state(s);
  SSL_set_connect_state(c);
  for (int i = 0; i < 10; i++) {
    SSL_do_handshake(c);
    SSL_do_handshake(s);
  }
  std::vector<char> buf(16384, 'x');
  uint64_t enc = 0, dec = 0, total = 0;
  while (total < (uint64_t(2) << 30)) {
    uint64_t t = tcpu();
    if (SSL_write(s, buf.data(), 16384) != 16384) die("SSL_write");
    enc += tcpu() - t;
    t = tcpu();
    int r = SSL_read(c, buf.data(), 16384);
    if (r != 16384) die("SSL_read");
    dec += tcpu() - t;
    total += 16384;
  }
  out("tls_record_encrypt_cpu", double(enc) / double(total), "CPU s/GB");
  out("tls_record_decrypt_cpu", double(dec) / double(total), "CPU s/GB");
  SSL_free(s);
  SSL_free(c);
}

long meminfo(const char* key) {
  FILE* f = fopen("/proc/meminfo", "r");
  char line[200];
  long v = 0;
  while (f && fgets(line, sizeof line, f))
    if (!strncmp(line, key, strlen(key))) v = strtol(line + strlen(key) + 1, nullptr, 10);
  if (f) fclose(f);
  return v;
}
long rss() {
  FILE* f = fopen("/proc/self/statm", "r");
  long a = 0, b = 0;
  if (f && fscanf(f, "%ld %ld", &a, &b) != 2) b = 0;
  if (f) fclose(f);
  return b * 4096;
}

void idle_memory() {
  const int n = 4000;
  std::vector<int> fa(n), fb(n);
  usleep(300000);
  long k0 = meminfo("Slab:") + meminfo("PageTables:");
  for (int i = 0; i < n; i++) tcp_pair(fa[size_t(i)], fb[size_t(i)]);
  usleep(300000);
  long k1 = meminfo("Slab:") + meminfo("PageTables:");
  out("idle_tcp_kernel_per_socket", double(k1 - k0) * 1024 / (2.0 * n),
      "bytes (slab growth, system wide: noisy)");
  for (int i = 0; i < n; i++) {
    close(fa[size_t(i)]);
    close(fb[size_t(i)]);
  }
  const int m = 1000;
  for (int release = 0; release < 2; release++) {
    if (release)
      SSL_CTX_set_mode(srv, SSL_MODE_RELEASE_BUFFERS);
    else
      SSL_CTX_clear_mode(srv, SSL_MODE_RELEASE_BUFFERS);
    std::vector<SSL*> v;
    std::vector<int> fds;
    long r0 = rss();
    size_t m0 = mallinfo2().uordblks;
    for (int i = 0; i < m; i++) {
      int a, b;
      tcp_pair(a, b);
      SSL *s = SSL_new(srv), *c = SSL_new(cli);
      SSL_set_fd(s, b);
      SSL_set_fd(c, a);
      std::thread th([&] {
        if (SSL_connect(c) != 1) die("connect");
      });
      if (SSL_accept(s) != 1) die("accept");
      th.join();
      char x[8];
      SSL_write(s, "hello", 5);
      SSL_read(c, x, 5);
      SSL_write(c, "hello", 5);
      SSL_read(s, x, 5);
      SSL_free(c);
      v.push_back(s);
      fds.push_back(a);
      fds.push_back(b);
    }
    size_t m1 = mallinfo2().uordblks;
    out(release ? "idle_tls_malloc_per_conn_release_buffers" : "idle_tls_malloc_per_conn",
        double(m1 - m0) / m, "bytes");
    out(release ? "idle_tls_rss_per_conn_release_buffers" : "idle_tls_rss_per_conn",
        double(rss() - r0) / m, "bytes (second pass reuses freed memory)");
    for (SSL* s : v) SSL_free(s);
    for (int fd : fds) close(fd);
  }
}
}  // namespace

int main(int argc, char** argv) {
  Args a(argc, argv);
  errno = 0;
  signal(SIGPIPE, SIG_IGN);
  raise_fd_limit();
  only = a.str("only");
  srv = server_ctx(a.str("cert"), a.str("key"));
  cli = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_mode(cli, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_verify(cli, SSL_VERIFY_NONE, nullptr);
  SSL_CTX_set1_groups_list(cli, "X25519");
  SSL_CTX_set_ciphersuites(cli, "TLS_AES_256_GCM_SHA384");
  SSL_CTX_set1_sigalgs_list(cli, "ECDSA+SHA256");
  if (want("handshake")) handshakes();
  if (want("accept")) {
    accept_loop(false);
    accept_loop(true);
  }
  if (want("memcpy")) memory_copy();
  if (want("stream")) {
    stream("loopback", 131072, false, false);
    stream("relay_copy_4KiB", 4096, false, true);
    stream("relay_copy_16KiB", 16384, false, true);
    stream("relay_copy_64KiB", 65536, false, true);
    stream("relay_copy_256KiB", 262144, false, true);
    stream("relay_splice_64KiB", 65536, true, true);
    stream("relay_splice_1MiB", 1048576, true, true);
  }
  if (want("records")) records();
  if (want("idle")) idle_memory();
  return 0;
}
