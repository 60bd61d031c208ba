#include "ctl/control-client.h"

#include <cerrno>
#include <utility>
#include <variant>

namespace postern::ctl {

Result<ControlClient> ControlClient::connect(const std::string& path) {
  auto stream = UnixStream::connect(path);
  if (!stream.ok()) return stream.error();
  return ControlClient(std::move(stream).value());
}

Result<std::string> ControlClient::read_line(std::chrono::milliseconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  std::size_t searched = 0;
  for (;;) {
    const std::string_view bytes = input_.view();
    if (const std::size_t end = bytes.find('\n', searched); end != std::string_view::npos) {
      std::string line(bytes.substr(0, end));
      input_.consume(end + 1);
      return line;
    }
    searched = bytes.size();
    if (searched >= wire::kMaxControlLine) return Error{EPROTO, "a line of the answer is too long"};
    if (auto got = stream_.read(input_, deadline); !got.ok()) return got.error();
  }
}

Result<Answer> ControlClient::ask(const wire::ControlRequest& request,
                                  std::chrono::milliseconds patience) {
  const std::string line = wire::control_request_line(request);
  if (line.size() > wire::kMaxControlLine) return Error{E2BIG, "the request is too long"};
  const auto deadline = std::chrono::steady_clock::now() + patience;
  if (auto sent = stream_.write(line, deadline); !sent.ok()) return sent.error();
  Answer out;
  for (;;) {
    auto text = read_line(patience);
    if (!text.ok()) return text.error();
    auto reply = wire::parse_control_reply(text.value());
    if (!reply.ok()) return reply.error();
    if (auto* row = std::get_if<wire::ControlFields>(&reply.value())) {
      out.rows.push_back(std::move(*row));
    } else {
      out.end = std::get<wire::ControlEnd>(std::move(reply).value());
      return out;
    }
  }
}

}  // namespace postern::ctl
