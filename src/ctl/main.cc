// posternctl: what an operator says to a running Postern. It speaks JSON lines with the master over
// base_dir/control and, for `auth test`, the auth-client protocol with auth. It has the rights of
// whoever calls it and no others; what it may do is decided by the modes of those sockets.
#include <sysexits.h>

#include <cstdio>
#include <string>

#include "ctl/command.h"

int main(int argc, char** argv) {
  std::string out;
  std::string err;
  int code = postern::ctl::run(argc, argv, out, err);
  std::fputs(err.c_str(), stderr);
  std::fwrite(out.data(), 1, out.size(), stdout);
  if (std::fflush(stdout) != 0) {
    std::fputs("posternctl: cannot write what was answered\n", stderr);
    if (code == 0) code = EX_TEMPFAIL;
  }
  return code;
}
