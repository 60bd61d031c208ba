#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>

#include "auth/hash-pool.h"
#include "io/line-stream.h"
#include "service/service.h"

namespace postern::auth {

/// Connections to auth-worker processes, asked for from the master.
class WorkerLinks final : public HashPool::Workers, private io::LineStream::Owner {
 public:
  explicit WorkerLinks(service::Service& service) : service_(service) {}
  void set_pool(HashPool& pool) noexcept { pool_ = &pool; }

  void connect() override;
  void send(std::uint64_t worker, std::string_view line) override;
  void drop(std::uint64_t worker) override;

 private:
  void on_line(io::LineStream& stream, std::string_view line) override;
  void on_closed(io::LineStream& stream) override;

  service::Service& service_;
  HashPool* pool_ = nullptr;
  std::uint64_t next_ = 0;
  std::unordered_map<std::uint64_t, std::unique_ptr<io::LineStream>> links_;
};

}  // namespace postern::auth
