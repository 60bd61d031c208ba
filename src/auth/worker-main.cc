// auth-worker: compares passwords with hashes that are slow on purpose, one at a time. Only auth
// talks to it, over a connection the master makes. It holds no database, no key and no setting but
// its limits; after its start it needs nothing but that connection, memory and time.
#include <unistd.h>

#include <memory>
#include <unordered_map>

#include "auth/hash-pool.h"
#include "auth/worker-protocol.h"
#include "io/line-stream.h"
#include "lib/log.h"
#include "service/service.h"

namespace postern::auth {
namespace {

class Worker final : public service::Handler, private io::LineStream::Owner {
 public:
  explicit Worker(service::Service& service) : service_(service) {}

  void on_accept(std::size_t /*index*/, io::Accepted connection) noexcept override {
    io::LineStream::Owner& owner = *this;
    auto stream = std::make_unique<io::LineStream>(service_.loop(), std::move(connection.fd),
                                                   kMaxWorkerLine, owner);
    io::LineStream* key = stream.get();
    clients_.emplace(key, Client{std::move(stream), false});
    service_.set_load({static_cast<unsigned>(clients_.size()), 0});
  }
  void on_drain() noexcept override {
    if (clients_.empty()) service_.finish();
  }
  void on_terminate() noexcept override {
    for (auto& [key, client] : clients_) {
      key->close();
      service_.loop().retire(std::move(client.stream));
    }
    clients_.clear();
    service_.finish();
  }

 private:
  struct Client {
    std::unique_ptr<io::LineStream> stream;
    bool greeted = false;
  };

  void on_line(io::LineStream& stream, std::string_view line) override {
    Client& client = clients_.at(&stream);
    if (!client.greeted) {
      // A stale worker of another build: auth takes the next one.
      if (std::string(line) + "\n" != worker_greeting()) return on_closed(stream);
      client.greeted = true;
      return stream.send(worker_greeting());
    }
    const auto request = parse_worker_request(line);
    if (!request) {
      log::error("BUG: auth sent an unknown request");
      return on_closed(stream);
    }
    // Whatever a hash asks for: after this the process ends, and auth has given up on it.
    ::alarm(static_cast<unsigned>(HashPool::kLookupLimit.count()) + 5);
    const VerifyResult result = verify_password(*request->job.scheme, request->job.stored.reveal(),
                                                request->job.password.reveal());
    ::alarm(0);
    WipingBuffer reply;
    write_worker_reply(reply, request->id, result);
    stream.send(reply.view());
  }

  void on_closed(io::LineStream& stream) override {
    const auto it = clients_.find(&stream);
    if (it == clients_.end()) return;
    stream.close();
    service_.loop().retire(std::move(it->second.stream));
    clients_.erase(it);
    service_.set_load({static_cast<unsigned>(clients_.size()), 0});
    if (clients_.empty() && service_.draining()) service_.finish();
  }

  service::Service& service_;
  std::unordered_map<io::LineStream*, Client> clients_;
};

}  // namespace
}  // namespace postern::auth

int main() {
  postern::service::Service service("auth-worker");
  postern::auth::Worker worker(service);
  return service.run(worker);
}
