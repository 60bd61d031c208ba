#pragma once

#include <string_view>
#include <vector>

#include "lib/ip.h"
#include "wire/proxy-hosts.h"

/// Which of several hosts a user goes to: weighted rendezvous hashing. Every process of every host
/// with the same list chooses the same; a host that leaves moves only its own users, and a weight
/// that grows moves users to that host only. What is hashed is part of the program's outside: a
/// change of it would move everybody.
namespace postern::auth {

/// Puts `hosts` into the order of preference of `user`.
/// @param user  in its final form; ASCII case does not count
void order_hosts(std::vector<wire::HostSpec>& hosts, std::string_view user);
/// The same for the addresses of one name.
void order_addresses(std::vector<IpAddress>& addresses, std::string_view user);

}  // namespace postern::auth
