// log: the only writer of logs. The master hands it the read ends of the pipes that are everybody's
// stderr, and the files it has opened; lines go from the one to the other, escaped, in Dovecot's
// form. What is on a pipe is foreign: a process that was taken over may write anything there, but
// never under another's name. It opens nothing but the syslog daemon's socket, and the last errors
// stay in memory for `posternctl log errors`. When the master is gone it goes on until the last
// process has ended.
#include <csignal>

#include "log/log-server.h"
#include "service/service.h"

int main() {
  // A log that has reached the limit of file sizes cannot be written, which is told like a full
  // disk; the signal would end us. NOLINTNEXTLINE(cert-err33-c): cannot fail for a valid number
  std::signal(SIGXFSZ, SIG_IGN);
  postern::service::Service service("log");
  postern::log::LogServer server(service, service.take_snapshot().log());
  server.take_over_stderr();
  return service.run(server);
}
