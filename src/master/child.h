#pragma once

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "io/loop.h"
#include "lib/handle.h"
#include "lib/secret.h"
#include "master/child-message.h"
#include "master/service-machine.h"

/// One child of the master and its control channel (wire/channel.h).
namespace postern::master {

class Child {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    /// A message that parsed. The owner may end the child in it (Loop::retire).
    virtual void on_child_message(Child& child, ChildMessage message) noexcept = 0;
    /// The channel is useless: the child has closed it (empty `why`) or broken its rules.
    virtual void on_channel_end(Child& child, std::string_view why) noexcept = 0;
  };

  /// @param channel  the master's end
  /// @param pid      0 for a copy that the template is asked to make: the kernel tells the pid with
  ///                 its first packet
  Child(io::Loop& loop, Owner& owner, ProcessId id, pid_t pid, UniqueFd channel);
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() = default;

  ProcessId id() const noexcept { return id_; }
  pid_t pid() const noexcept { return pid_; }
  bool channel_open() const noexcept { return static_cast<bool>(channel_); }

  /// Queues one packet: `verb` and `fields`, tab-escaped, and a descriptor (none if empty). Goes
  /// out as the child takes it. A child that leaves more than kMaxQueued unread has lost its
  /// channel.
  void send(std::string_view verb, const std::vector<std::string_view>& fields = {},
            UniqueFd fd = {});
  /// Reads what is there now, without waiting for the loop: for the order of things when a process
  /// has ended.
  void drain_channel() noexcept;

  static constexpr std::size_t kMaxQueued = 4096;  // packets

 private:
  void on_event(unsigned what) noexcept;
  void flush() noexcept;
  bool read_one() noexcept;
  void end_channel(std::string_view why) noexcept;

  struct Outgoing {
    WipingBuffer bytes;  // ticket keys go this way
    UniqueFd fd;
  };

  io::Loop& loop_;
  Owner& owner_;
  ProcessId id_;
  pid_t pid_;
  UniqueFd channel_;
  io::FdWatch watch_;
  std::deque<Outgoing> queue_;
};

}  // namespace postern::master
