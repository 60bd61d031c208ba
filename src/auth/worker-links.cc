#include "auth/worker-links.h"

#include "auth/worker-protocol.h"

namespace postern::auth {

void WorkerLinks::connect() {
  service_.connect("auth-worker", [this](Result<UniqueFd> answer) {
    if (!answer.ok()) return pool_->on_connect_failed(answer.error().text);
    const std::uint64_t id = ++next_;
    io::LineStream::Owner& owner = *this;
    auto link = std::make_unique<io::LineStream>(service_.loop(), std::move(answer.value()),
                                                 kMaxWorkerLine, owner);
    link->number = id;
    links_.emplace(id, std::move(link));
    pool_->on_connected(id);
  });
}

void WorkerLinks::send(std::uint64_t worker, std::string_view line) {
  const auto it = links_.find(worker);
  if (it != links_.end()) it->second->send(line);
}

void WorkerLinks::drop(std::uint64_t worker) {
  const auto it = links_.find(worker);
  if (it == links_.end()) return;
  it->second->close();
  service_.loop().retire(std::move(it->second));
  links_.erase(it);
}

void WorkerLinks::on_line(io::LineStream& stream, std::string_view line) {
  pool_->on_line(stream.number, line);
}

void WorkerLinks::on_closed(io::LineStream& stream) {
  const std::uint64_t id = stream.number;
  drop(id);
  pool_->on_closed(id);
}

}  // namespace postern::auth
