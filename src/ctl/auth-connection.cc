#include "ctl/auth-connection.h"

#include <cerrno>
#include <utility>

namespace postern::ctl {

Result<std::string_view> AuthConnection::line(TimePoint deadline) {
  for (;;) {
    input_.consume(std::exchange(used_, 0));
    std::string_view rest = input_.view();
    const auto event = reader_.next(rest);
    used_ = input_.size() - rest.size();
    if (event == wire::AuthReplyReader::Event::line) return reader_.line();
    if (event == wire::AuthReplyReader::Event::too_long) {
      return Error{EPROTO, "the server's reply is too long"};
    }
    if (auto got = stream_.read(input_, deadline); !got.ok()) return got.error();
  }
}

}  // namespace postern::ctl
