#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "anvil/dialogue.h"
#include "io/stream.h"
#include "service/service.h"

/// The anvil process: its connections.
namespace postern::anvil {

class AnvilServer : public service::Handler {
 public:
  explicit AnvilServer(service::Service& service);
  ~AnvilServer() override;

  void on_accept(std::size_t index, io::Accepted connection) noexcept override;
  void on_drain() noexcept override;
  void on_terminate() noexcept override;
  /// `penalty`: rows ident, value, last, last_update.
  void on_call(service::Call call) noexcept override;

 private:
  class Connection;
  void on_closed(Connection& connection) noexcept;
  void report() noexcept;

  service::Service& service_;
  State state_;
  std::map<Channel, std::unique_ptr<Connection>> connections_;
  Channel last_channel_ = 0;
};

}  // namespace postern::anvil
