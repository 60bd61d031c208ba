#pragma once

#include <cstddef>
#include <string_view>

/// The control channel between the master and each of its children: a SOCK_SEQPACKET socketpair.
/// One packet is one tab-escaped line (wire/tab-line.h) without LF, at most kMaxPacket bytes, and
/// may carry one descriptor (SCM_RIGHTS). End of file on the child's side is "the master is gone":
/// the child stops accepting and ends with its last session. A child believes nothing else about
/// the master, and the master nothing about a child but what comes on that child's channel.
namespace postern::wire {

inline constexpr std::size_t kMaxPacket = 64UL * 1024;  // bytes

// What a process inherits. 2 is the log pipe.
inline constexpr int kChannelFd = 3;
inline constexpr int kSettingsFd = 4;       // sealed memfd, config/snapshot.h
inline constexpr int kFirstListenerFd = 5;  // in the order of the snapshot's listener lines

// Child to master.
inline constexpr std::string_view kReady = "ready";  // initialised; within 30 s of its start
inline constexpr std::string_view kStatus =
    "status";  // AVAILABLE CLIENTS RELAYING: free slots (0 = full),
               // clients before login, sessions relaying; with clients and
               // full, EVICTABLE HOLDER HELD, too: clients that could be sent
               // away, from where most clients come, how many of those could go
inline constexpr std::string_view kFinished = "finished";  // service_count used up, only finishing
inline constexpr std::string_view kConnect =
    "connect";  // ID NAME: wants a connection to a named socket
inline constexpr std::string_view kAccessSocket =
    "access-";  // such a name, with a number: the word of login_access_sockets, from 0
inline constexpr std::string_view kRow = "row";  // ID KEY=VALUE…: one row of the answer to a call
inline constexpr std::string_view kDone =
    "done";  // ID CODE [TEXT]: the answer's end, sysexits code
inline constexpr std::string_view kForked = "forked";  // ID PID, or ID 0 TEXT (template only)

// Login process to master, of backends. None of them is sent by a login that works, unless the
// backend was failing before.
inline constexpr std::string_view kBackendFailed =
    "backend-failed";  // ADDRESS PORT TOOK SUCCESS PATIENCE TEXT: a login came to no verdict after
                       // TOOK ms; the last one did SUCCESS ms ago, as far as this process knows;
                       // PATIENCE ms of failures make it down (0: only their number does)
inline constexpr std::string_view kBackendWorked =
    "backend-worked";  // ADDRESS PORT: a login there came to a verdict
inline constexpr std::string_view kBackendProbe =
    "backend-probe";  // ID ADDRESS PORT: may this login try what is down? Answered by probe
inline constexpr std::string_view kBackendSlow =
    "backend-slow";  // ADDRESS PORT COUNT: logins of this process that have waited for it for a
                     // second or more

// Master to child.
inline constexpr std::string_view kConnected =
    "connected";                                     // ID + descriptor, or ID TEXT if it failed
inline constexpr std::string_view kCall = "call";    // ID VERB ARG…: answered by row*, done
inline constexpr std::string_view kDrain = "drain";  // accept no more; end with the last session
inline constexpr std::string_view kStop = "stop";    // tell everyone, close, end
inline constexpr std::string_view kEvict = "evict";  // N: close N clients before login
inline constexpr std::string_view kFork = "fork";  // ID + the new process's channel (template only)
inline constexpr std::string_view kPipe = "pipe";  // PREFIX + read end of a log pipe (log only)
inline constexpr std::string_view kFile =
    "file";  // LEVEL + open log file (log only): error, info, debug
inline constexpr std::string_view kTicketKeys =
    "ticket-keys";  // KEYS: TLS ticket keys, 80 bytes each, newest
                    // first (login only), before anything else and on rotation
inline constexpr std::string_view kCertificates =
    "certificates";  // + sealed memfd, wire/certificate-store.h (login only): of ssl_cert_dir
inline constexpr std::string_view kSettings =
    "settings";  // + sealed memfd: the settings again, files of theirs have new content (login
                 // only)
inline constexpr std::string_view kBackends =
    "backends";  // NEWS… (login only): wire/backend-news.h; what is not as usual before anything
                 // else, then what changes
inline constexpr std::string_view kProbe =
    "probe";  // ID YES WAIT (login only): the answer to backend-probe: 1 or 0, and in how many ms
              // the next one may

// Verbs of call.
inline constexpr std::string_view kSessions = "sessions";  // rows: the sessions of this process
inline constexpr std::string_view kKick = "kick";  // FIELD=VALUE…: done's text is the number kicked
inline constexpr std::string_view kBackendRows =
    "backends";  // rows: the backends this process knows, with address, port, pending, sessions and
                 // logins (login only)
inline constexpr std::string_view kLogErrors =
    "log-errors";  // [SINCE]: rows time, level, prefix, text (log only)

}  // namespace postern::wire
