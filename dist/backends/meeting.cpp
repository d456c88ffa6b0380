#include "dist/backends/meeting.hpp"

#include <netdb.h>

#include <algorithm>
#include <cmath>
#include <future>
#include <thread>
#include <utility>

#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "core/base/log.hpp"
#include "dist/backends/gloo_address.hpp"
#include "dist/backends/transport.hpp"

namespace lora_dist {
namespace {

c10::intrusive_ptr<c10d::TCPStore> open_store(const std::string& host, int port, bool serve,
                                              double timeout_s) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(port);
  options.isServer = serve;
  options.waitWorkers = false;
  options.multiTenant = true;  // a rendezvous and a backend of this process share one at the port
  options.timeout = milliseconds(timeout_s);
  return c10::make_intrusive<c10d::TCPStore>(host, options);
}

/// c10d gives each of its tries the whole time again. One that is left alone ends with the process.
c10::intrusive_ptr<c10d::TCPStore> open_store_in_time(const std::string& host, int port, bool serve,
                                                      double timeout_s) {
  std::packaged_task<c10::intrusive_ptr<c10d::TCPStore>()> open(
      [=] { return open_store(host, port, serve, timeout_s); });
  auto opened = open.get_future();
  std::thread(std::move(open)).detach();
  if (opened.wait_for(milliseconds(timeout_s)) != std::future_status::ready)
    throw TransportError(fmt::format("nothing of this run answers at {}:{}", host, port));
  return opened.get();
}

bool several_hosts(const WorldInfo& world) { return world.local_world_size < world.world_size; }

MeetingPoint meet_by_mpi(const BackendOptions& options) {
  const WorldInfo& world = options.world;
  MeetingPoint point;
  point.session = MpiSession::join(world, options.startup_timeout_s);
  std::string where;
  if (world.rank == 0) {
    point.address = own_address(options.network_interface, several_hosts(world) ? "" : "127.0.0.1",
                                several_hosts(world));
    const auto store =
        open_store(point.address, /*port=*/0, /*serve=*/true, options.startup_timeout_s);
    where = fmt::format("{} {}", point.address, store->getPort());
    point.store = store;
  }
  where = point.session->broadcast_text(where, deadline_in(options.startup_timeout_s));
  if (world.rank == 0) return point;
  const std::string host = where.substr(0, where.find(' '));
  const int port = std::stoi(where.substr(where.find(' ')));
  point.store = open_store_in_time(host, port, /*serve=*/false, options.startup_timeout_s);
  point.address = own_address(options.network_interface, host, several_hosts(world));
  return point;
}

/// A name that nobody knows is no slow start: c10d would try it until the time is over.
void require_known_name(const BackendOptions& options) {
  const WorldInfo& world = options.world;
  addrinfo* found = nullptr;
  const int problem = getaddrinfo(world.master_addr.c_str(), nullptr, nullptr, &found);
  if (problem == 0) return freeaddrinfo(found);
  const Fault fault{
      .where = fmt::format("[rank {}/{} {}]", world.rank, world.world_size, world.host),
      .found =
          fmt::format("'{}', rank 0's host{}, is not known here ({})", world.master_addr,
                      world.launcher == "srun" ? "" : " by MASTER_ADDR", gai_strerror(problem)),
      .expected = "a name or address that every host can resolve",
      .fix = world.launcher == "srun" ? "make the name known (DNS or /etc/hosts)"
                                      : "set MASTER_ADDR to one, or make the name known (DNS or "
                                        "/etc/hosts)"};
  if (options.names_come_late)
    return log_warning(fmt::format("{}; trying for {:g} s (startup_timeout_s)",
                                   CommError(fault).what(), options.startup_timeout_s));
  if (problem == EAI_AGAIN) throw CommError(fault);  // a name server that does not answer
  throw ConfigError(fault);
}

MeetingPoint meet_at_master(const BackendOptions& options) {
  const WorldInfo& world = options.world;
  require_known_name(options);
  const bool serve = world.rank == 0 && !options.store_is_served;
  return {
      .store = open_store_in_time(world.master_addr, world.master_port, serve,
                                  options.startup_timeout_s),
      .address = own_address(options.network_interface, world.master_addr, several_hosts(world)),
      .session = nullptr};
}

}  // namespace

MeetingPoint meet(const BackendOptions& options) {
  MeetingPoint point =
      options.world.master_addr.empty() ? meet_by_mpi(options) : meet_at_master(options);
  point.store = c10::make_intrusive<c10d::PrefixStore>(options.store_prefix, point.store);
  return point;
}

CommError did_not_come_together(const BackendOptions& options, std::string_view backend,
                                const std::exception& cause, std::string fix) {
  const WorldInfo& world = options.world;
  const std::string where =
      fmt::format("[rank {}/{} {}] {}", world.rank, world.world_size, world.host, backend);
  if (first_line(cause).find("EADDRINUSE") != std::string::npos)
    return CommError({.where = where,
                      .found = fmt::format("port {} is in use on this host", world.master_port),
                      .expected = {},
                      .fix = "set MASTER_PORT to a free one on all ranks"});
  return CommError({.where = where,
                    .found = fmt::format(
                        "the ranks did not come together within {:g} s (startup_timeout_s) [{}]",
                        options.startup_timeout_s, first_line(cause)),
                    .expected = {},
                    .fix = std::move(fix)});
}

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::milliseconds(std::max<int64_t>(1, std::llround(seconds * 1000)));
}

std::string first_line(const std::exception& error) {
  const auto* c10_error = dynamic_cast<const c10::Error*>(&error);
  const std::string text = c10_error ? c10_error->what_without_backtrace() : error.what();
  return text.substr(0, text.find('\n'));
}

}  // namespace lora_dist
