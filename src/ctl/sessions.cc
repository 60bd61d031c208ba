// who, kick, proxy list, proxy kick.
#include <fmt/format.h>
#include <sysexits.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <utility>

#include "ctl/command.h"
#include "lib/ip.h"
#include "lib/text.h"

namespace postern::ctl {
namespace {

using wire::control_field;
using wire::ControlFields;

bool is_address(const std::string& text) {
  return Network::parse(text).has_value();
}

/// `text` matches `mask`, in which `*` is any run of characters and `?` one.
bool wildcard(std::string_view text, std::string_view mask) {
  std::size_t t = 0;
  std::size_t m = 0;
  std::size_t star = std::string_view::npos;
  std::size_t resume = 0;
  while (t < text.size()) {
    if (m < mask.size() && mask[m] == '*') {
      star = m++;
      resume = t;
    } else if (m < mask.size() && (mask[m] == '?' || mask[m] == text[t])) {
      ++m;
      ++t;
    } else if (star != std::string_view::npos) {
      m = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  return mask.find_first_not_of('*', m) == std::string_view::npos;
}

/// The words of `who` and `proxy list`: a row is shown if it fits one of the users, and one of the
/// networks, as far as there are any.
bool is_wanted(const ControlFields& row, const std::vector<std::string>& words) {
  bool has_user = false;
  bool user_fits = false;
  bool has_network = false;
  bool network_fits = false;
  const auto ip = IpAddress::parse(control_field(row, "rip"));
  for (const std::string& word : words) {
    if (const auto network = Network::parse(word)) {
      has_network = true;
      network_fits |= ip && network->contains(*ip);
    } else {
      has_user = true;
      user_fits |= wildcard(control_field(row, "user"), word);
    }
  }
  return (!has_user || user_fits) && (!has_network || network_fits);
}

/// The sessions, in an order that does not change from call to call. Those of processes that
/// answered are there even if others did not, which is told.
/// @param failed  the exit code once `out` has been shown
/// @return an exit code if there is nothing to show
int sessions(Context& context, const Arguments& arguments, std::vector<ControlFields>& out,
             int& failed) {
  Answer answer;
  if (const int code = context.ask({"who", {}}, answer); code != 0) return code;
  if (answer.end.code != 0) {
    failed = context.fail(answer.end.code, answer.end.text.empty()
                                               ? "the master refused"
                                               : log_safe_line(answer.end.text, 1000));
    if (answer.rows.empty()) return failed;
  }
  for (ControlFields& row : answer.rows) {
    if (is_wanted(row, arguments.words)) out.push_back(std::move(row));
  }
  std::stable_sort(out.begin(), out.end(), [](const ControlFields& a, const ControlFields& b) {
    const auto by = [](const ControlFields& row) {
      return std::pair(control_field(row, "user"), control_field(row, "service"));
    };
    return by(a) < by(b);
  });
  return 0;
}

/// Also while the backend is still being told that it is over.
bool is_proxied(const ControlFields& row) {
  const std::string_view state = control_field(row, "state");
  return state == "proxied" || state == "closing";
}

bool has_state(const ControlFields& row, const Arguments& arguments) {
  const std::string_view state = control_field(row, "state");
  if (!arguments.proxied && !arguments.local && !arguments.pre_login) return state != "login";
  return (arguments.proxied && is_proxied(row)) || (arguments.local && state == "local") ||
         (arguments.pre_login && state == "login");
}

void add_once(std::vector<std::string>& list, std::string_view text) {
  if (std::find(list.begin(), list.end(), text) == list.end()) list.emplace_back(text);
}

std::string joined(const std::vector<std::string>& list) {
  return fmt::format("({})", fmt::join(list, " "));
}

/// One row a user and service, as Dovecot shows them.
Table grouped(const std::vector<ControlFields>& rows) {
  struct Group {
    unsigned count = 0;
    std::vector<std::string> pids, ips;
  };
  std::map<std::pair<std::string, std::string>, Group> groups;
  for (const ControlFields& row : rows) {
    Group& group = groups[{std::string(control_field(row, "user")),
                           std::string(control_field(row, "service"))}];
    ++group.count;
    add_once(group.pids, control_field(row, "pid"));
    add_once(group.ips, control_field(row, "rip"));
  }
  Table out({{"username", "username"},
             {"connections", "#"},
             {"service", "proto"},
             {"pids", "(pids)"},
             {"ips", "(ips)"}});
  for (const auto& [key, group] : groups) {
    out.add({key.first, std::to_string(group.count), key.second, joined(group.pids),
             joined(group.ips)});
  }
  return out;
}

/// One row a session: Dovecot's four columns first.
Table one_by_one(const std::vector<ControlFields>& rows) {
  Table out({{"username", "username"},
             {"service", "proto"},
             {"pid", "pid"},
             {"ip", "ip"},
             {"lip", "lip"},
             {"session", "session"},
             {"secured", "secured"},
             {"state", "state"},
             {"dest-ip", "dest ip"},
             {"dest-port", "dest port"}});
  for (const ControlFields& row : rows) {
    std::vector<std::string> cells;
    for (const char* name : {"user", "service", "pid", "rip", "lip", "session", "secured", "state",
                             "dest-ip", "dest-port"}) {
      cells.emplace_back(control_field(row, name));
    }
    out.add(std::move(cells));
  }
  return out;
}

/// The requests of one kick: every term in one request holds for the same session, so that several
/// users or networks are several requests.
std::vector<wire::ControlRequest> kick_requests(const Arguments& arguments, bool proxied) {
  std::vector<std::string> users;
  std::vector<std::string> networks;
  if (!arguments.user.empty()) users.push_back(arguments.user);
  if (!arguments.ip.empty()) networks.push_back(arguments.ip);
  for (const std::string& word : arguments.words) {
    (is_address(word) ? networks : users).push_back(word);
  }
  if (users.empty()) users.emplace_back();
  if (networks.empty()) networks.emplace_back();
  std::vector<wire::ControlRequest> out;
  for (const std::string& user : users) {
    for (const std::string& network : networks) {
      wire::ControlRequest request{"kick", {}};
      if (!user.empty()) request.args.emplace_back("user", user);
      if (!network.empty()) request.args.emplace_back("ip", network);
      if (!arguments.session.empty()) request.args.emplace_back("session", arguments.session);
      if (!arguments.dest_ip.empty()) request.args.emplace_back("dest-ip", arguments.dest_ip);
      if (request.args.empty()) return {};
      if (proxied) request.args.emplace_back("proxied", "yes");
      out.push_back(std::move(request));
    }
  }
  return out;
}

/// An empty mask is a shell variable that was not set, most likely: it must not mean everybody.
std::string empty_mask(const std::string& mask) {
  return mask.empty() ? "an empty mask fits nobody" : "";
}

/// Kicks and counts. The exit code, if it is not 0, is that of the first request that failed.
int kick_all(Context& context, const Arguments& arguments, bool proxied, std::uint64_t& kicked) {
  const auto requests = kick_requests(arguments, proxied);
  if (requests.empty()) return context.fail(2, "user and/or ip[/bits] must be specified.");
  for (const wire::ControlRequest& request : requests) {
    Answer answer;
    if (const int failed = context.ask(request, answer); failed != 0) return failed;
    // Nobody fits: that is counted below, over all requests.
    if (answer.end.code == EX_NOHOST) continue;
    if (answer.end.code != 0) {
      return context.fail(answer.end.code, log_safe_line(answer.end.text, 1000));
    }
    kicked += decimal(answer.end.text, 0, UINT32_MAX).value_or(0);
  }
  return 0;
}

std::string kicked_text(Context& context, std::uint64_t kicked) {
  if (context.format != Format::json) return fmt::format("{} connections kicked\n", kicked);
  return '[' + json_object({{"kicked", std::to_string(kicked)}}) + "]\n";
}

int kick_and_tell(Context& context, const Arguments& arguments, bool proxied) {
  std::uint64_t kicked = 0;
  const int failed = kick_all(context, arguments, proxied, kicked);
  // Those that were kicked before it failed are gone all the same.
  if (failed != 0 && kicked == 0) return failed;
  if (kicked == 0 && context.format != Format::json) {
    context.err += "no users kicked\n";
    return EX_NOHOST;
  }
  context.out += kicked_text(context, kicked);
  if (failed != 0) return failed;
  return kicked == 0 ? EX_NOHOST : 0;
}

}  // namespace

void who_options(CLI::App& app, Arguments& arguments) {
  app.add_option("MASK", arguments.words,
                 "Users (* and ? as in file names) and addresses (IP or IP/BITS) to show.");
  app.add_flag("-1", arguments.one_line_each, "One line a session.");
  app.add_flag("--proxied", arguments.proxied, "Sessions that are proxied to a backend.");
  app.add_flag("--local", arguments.local, "Sessions that were handed to a service of this host.");
  app.add_flag("--pre-login", arguments.pre_login, "Clients that have not logged in.");
}

int who(Context& context, const Arguments& arguments) {
  std::vector<ControlFields> rows;
  int failed = 0;
  if (const int code = sessions(context, arguments, rows, failed); code != 0) return code;
  std::erase_if(rows,
                [&arguments](const ControlFields& row) { return !has_state(row, arguments); });
  const Table table = arguments.one_line_each ? one_by_one(rows) : grouped(rows);
  context.out += table.render(context.format);
  return failed;
}

void kick_options(CLI::App& app, Arguments& arguments) {
  app.add_option("MASK", arguments.words,
                 "Users (* and ? as in file names) and addresses (IP or IP/BITS).")
      ->check(empty_mask);
  app.add_option("--user", arguments.user, "Sessions of this user (mask).")->check(empty_mask);
  app.add_option("--ip", arguments.ip, "Sessions from this address or network.")->check(empty_mask);
  app.add_option("--session", arguments.session, "The session of this id (mask).")
      ->check(empty_mask);
  app.add_option("-H,--dest-ip", arguments.dest_ip, "Sessions proxied to this address or network.")
      ->check(empty_mask);
}

int kick(Context& context, const Arguments& arguments) {
  return kick_and_tell(context, arguments, false);
}

void proxy_list_options(CLI::App& app, Arguments& arguments) {
  app.add_option("MASK", arguments.words,
                 "Users (* and ? as in file names) and addresses (IP or IP/BITS) to show.");
}

int proxy_list(Context& context, const Arguments& arguments) {
  std::vector<ControlFields> rows;
  int failed = 0;
  if (const int code = sessions(context, arguments, rows, failed); code != 0) return code;
  Table table({{"username", "username"},
               {"service", "proto"},
               {"src-ip", "src ip"},
               {"dest-ip", "dest ip"},
               {"dest-port", "port"},
               {"dest-user", "dest user"},
               {"session", "session"}});
  for (const ControlFields& row : rows) {
    if (!is_proxied(row)) continue;
    std::vector<std::string> cells;
    for (const char* name :
         {"user", "service", "rip", "dest-ip", "dest-port", "dest-user", "session"}) {
      cells.emplace_back(control_field(row, name));
    }
    table.add(std::move(cells));
  }
  context.out += table.render(context.format);
  return failed;
}

int proxy_kick(Context& context, const Arguments& arguments) {
  return kick_and_tell(context, arguments, true);
}

}  // namespace postern::ctl
