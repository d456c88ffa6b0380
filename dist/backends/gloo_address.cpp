#include "dist/backends/gloo_address.hpp"

#include <ifaddrs.h>
#include <netdb.h>
#include <unistd.h>

#include <memory>

#include <arpa/inet.h>
#include <net/if.h>
#include <sys/socket.h>

#include "core/base/error.hpp"

namespace lora_dist {
namespace {

std::string numeric(const sockaddr* address, socklen_t length) {
  char text[NI_MAXHOST];
  if (getnameinfo(address, length, text, sizeof text, nullptr, 0, NI_NUMERICHOST) != 0) return {};
  return text;
}

socklen_t length_of(const sockaddr* address) {
  return address->sa_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
}

/// First address that `wanted` accepts, IPv4 before IPv6.
template <class Wanted>
std::string first_address(const Wanted& wanted) {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return {};
  const std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> owner(list, freeifaddrs);
  for (const int family : {AF_INET, AF_INET6})
    for (const ifaddrs* entry = list; entry; entry = entry->ifa_next)
      if (entry->ifa_addr && entry->ifa_addr->sa_family == family && wanted(*entry))
        return numeric(entry->ifa_addr, length_of(entry->ifa_addr));
  return {};
}

/// The kernel's choice of a source address for `peer`; connecting a datagram socket sends nothing.
std::string address_towards(const std::string& peer) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_DGRAM;
  if (getaddrinfo(peer.c_str(), "9", &hints, &found) != 0) return {};
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, freeaddrinfo);
  const int socket_fd = socket(found->ai_family, SOCK_DGRAM, 0);
  if (socket_fd < 0) return {};
  sockaddr_storage own{};
  socklen_t length = sizeof own;
  std::string address;
  if (connect(socket_fd, found->ai_addr, found->ai_addrlen) == 0 &&
      getsockname(socket_fd, reinterpret_cast<sockaddr*>(&own), &length) == 0)
    address = numeric(reinterpret_cast<const sockaddr*>(&own), length);
  close(socket_fd);
  return address;
}

bool is_loopback(const std::string& address) {
  return address.starts_with("127.") || address == "::1";
}

}  // namespace

std::string own_address(const std::string& network_interface, const std::string& peer,
                        bool several_hosts) {
  if (!network_interface.empty()) {
    const std::string address =
        first_address([&](const ifaddrs& entry) { return entry.ifa_name == network_interface; });
    if (!address.empty()) return address;
    throw ConfigError(
        {.where = "environment",
         .found = fmt::format("GLOO_SOCKET_IFNAME '{}' is no interface with an address",
                              network_interface),
         .expected = "a name that `ip address` shows",
         .fix = "set it to the interface between the hosts, or unset it"});
  }
  if (!peer.empty()) {
    const std::string address = address_towards(peer);
    if (!address.empty() && !(several_hosts && is_loopback(address))) return address;
  }
  const std::string address = first_address([](const ifaddrs& entry) {
    return (entry.ifa_flags & IFF_UP) && (entry.ifa_flags & IFF_RUNNING) &&
           !(entry.ifa_flags & IFF_LOOPBACK);
  });
  if (!address.empty()) return address;
  if (!several_hosts) return "127.0.0.1";
  throw ConfigError({.where = "environment",
                     .found = "this host has no network address but loopback",
                     .expected = "an interface that the other hosts reach",
                     .fix = "name it in GLOO_SOCKET_IFNAME"});
}

}  // namespace lora_dist
