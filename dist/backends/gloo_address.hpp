// The address under which other hosts reach this one.
#pragma once

#include <string>

namespace lora_dist {

/// An IPv4 or IPv6 address of this host. `network_interface` decides where it is set ("eth0"); else
/// the address from which `peer` (name or address, may be empty) is reached; else the first one
/// that is up and not loopback. With `several_hosts` a loopback address is never the answer, though
/// a host's own name often resolves to one. Errors  ConfigError: no such interface, or no address.
std::string own_address(const std::string& network_interface, const std::string& peer,
                        bool several_hosts);

}  // namespace lora_dist
