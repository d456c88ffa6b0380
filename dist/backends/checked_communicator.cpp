#include "dist/backends/checked_communicator.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <numeric>

#include <c10/core/ScalarType.h>

#include "core/base/error.hpp"
#include "dist/backends/shared_memory.hpp"
#include "dist/backends/staging.hpp"

namespace lora_dist {
namespace {

void check_tensor(const at::Tensor& tensor) {
  LD_CHECK(tensor.defined() && tensor.is_contiguous(), "collectives take contiguous tensors");
}

/// One row of `rows` for each rank, with the dtype of `row`.
void check_rows(const at::Tensor& rows, const at::Tensor& row, int world_size) {
  LD_CHECK(rows.dim() >= 1 && rows.size(0) == world_size, "the first dimension counts ranks");
  LD_CHECK(rows.scalar_type() == row.scalar_type() && rows.numel() == world_size * row.numel(),
           "rows and row differ in size or dtype");
}

/// `counts` deals the rows of `tensor` to ranks.
void check_counts(const at::Tensor& tensor, const std::vector<int64_t>& counts, int world_size) {
  LD_CHECK(static_cast<int>(counts.size()) == world_size, "one number of rows for each rank");
  LD_CHECK(tensor.dim() >= 1 &&
               tensor.size(0) == std::accumulate(counts.begin(), counts.end(), int64_t{0}),
           "the first dimension counts the rows of all ranks");
}

/// "host of ranks 2 3".
std::string group_text(const std::string& group, const std::vector<int>& ranks) {
  const size_t shown = std::min<size_t>(ranks.size(), 8);
  return fmt::format("{} of ranks {}{}", group.empty() ? "group" : group,
                     fmt::join(ranks.begin(), ranks.begin() + shown, " "),
                     shown < ranks.size() ? " ..." : "");
}

at::Tensor as_byte_rows(const at::Tensor& tensor, int64_t row_bytes) {
  return tensor.view({-1}).view(at::kByte).view({tensor.size(0), row_bytes});
}

}  // namespace

/// What communicators that were split from each other share. They may be used by several threads.
struct CheckedCommunicator::Family {
  std::mutex mutex;
  std::string failure;  // the first cause; empty while all is well
  std::vector<std::weak_ptr<Transport>> transports;
};

/// Counts the time from its birth to its death.
class CheckedCommunicator::Stopwatch {
 public:
  explicit Stopwatch(CheckedCommunicator& owner) : owner_(owner) {}
  ~Stopwatch() {
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin_;
    owner_.count([&](TrafficCounters& traffic) { traffic.seconds += elapsed.count(); });
  }

 private:
  CheckedCommunicator& owner_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

struct CheckedCommunicator::Operation {
  const char* kind;
  int64_t number = 0;  // 1, 2, ... in the order of the calls, equal on all ranks
  std::string name;    // what travels; may be empty
  std::string size;    // "2097152 x float32"; empty for a barrier
  double timeout_s = 0;
  Deadline deadline;
};

class CheckedCommunicator::State final : public Work::State {
 public:
  State(CheckedCommunicator& owner, Operation operation, std::unique_ptr<Pending> pending)
      : owner_(owner), operation_(std::move(operation)), pending_(std::move(pending)) {}
  void wait() override { owner_.finish(operation_, *pending_); }

 private:
  CheckedCommunicator& owner_;
  Operation operation_;
  std::unique_ptr<Pending> pending_;
};

CheckedCommunicator::CheckedCommunicator(std::unique_ptr<Transport> transport,
                                         const BackendOptions& options)
    : transport_(std::move(transport)),
      shared_memory_wanted_(options.shared_memory),
      backend_(transport_->name()),
      world_(options.world),
      timeout_s_(options.startup_timeout_s),
      family_(std::make_shared<Family>()),
      names_(world_.world_size),
      num_ranks_of_run_(world_.world_size),
      traffic_{std::make_shared<TrafficCounters>()} {
  family_->transports.push_back(transport_);
  std::iota(names_.begin(), names_.end(), 0);
  hosts_.assign(world_size(), world_.host);  // until the ranks have told each other
  hosts_ = all_gather_text(*this, world_.host);
  const std::vector<int64_t> one_colour(world_size(), 0);
  if (may_share_memory(one_colour)) {
    if (auto shared = share_memory(*transport_, transport_, rank(), one_colour,
                                   deadline_in(options.startup_timeout_s))) {
      transport_ = std::move(*shared);
      family_->transports.push_back(transport_);
      backend_ = transport_->name();
    }
  }
  timeout_s_ = options.timeout_s;
  *traffic_.front() = {};
  last_number_ = last_complete_ = 0;
}

CheckedCommunicator::CheckedCommunicator(const CheckedCommunicator& parent,
                                         const std::vector<int>& members,
                                         std::shared_ptr<Transport> transport,
                                         std::string_view group)
    : transport_(std::move(transport)),
      shared_memory_wanted_(parent.shared_memory_wanted_),
      backend_(transport_ ? transport_->name() : parent.backend_),
      world_(parent.world_),
      timeout_s_(parent.timeout_s_),
      family_(parent.family_),
      num_ranks_of_run_(parent.num_ranks_of_run_),
      group_(group),
      traffic_{std::make_shared<TrafficCounters>()} {
  traffic_.insert(traffic_.end(), parent.traffic_.begin(), parent.traffic_.end());
  world_.world_size = static_cast<int>(members.size());
  world_.local_world_size = 0;
  for (int rank = 0; rank < world_.world_size; ++rank) {
    const int member = members[rank];
    names_.push_back(parent.names_[member]);
    hosts_.push_back(parent.hosts_[member]);
    if (member == parent.rank()) {
      world_.rank = rank;
      world_.local_rank = world_.local_world_size;  // those of this host that came before
    }
    if (hosts_.back() == world_.host) ++world_.local_world_size;
  }
  const std::lock_guard lock(family_->mutex);
  if (transport_) family_->transports.push_back(transport_);
}

Work CheckedCommunicator::broadcast(at::Tensor tensor, int root, CollectiveOptions options) {
  check_tensor(tensor);
  LD_CHECK(root >= 0 && root < world_size(), "root is no rank of this world");
  const Operation operation = describe("broadcast", tensor, options);
  if (next_rank() != root) count_sent(next_rank(), tensor.nbytes());
  if (world_size() == 1 || tensor.numel() == 0) return start(operation, nullptr);
  return start(operation, [&](Deadline deadline) {
    Staging staging(transport_->memory());
    return staging.bring_back(transport_->broadcast(staging.in_place(tensor), root, deadline));
  });
}

Work CheckedCommunicator::all_reduce(at::Tensor tensor, CollectiveOptions options) {
  check_tensor(tensor);
  const at::ScalarType dtype = tensor.scalar_type();
  LD_CHECK(dtype == at::kFloat || dtype == at::kDouble || dtype == at::kLong,
           "sums travel as float32, float64 or int64");
  const Operation operation = describe("all_reduce", tensor, options);
  const auto bytes = static_cast<int64_t>(tensor.nbytes());
  count_sent(next_rank(), std::llround(2.0 * (world_size() - 1) / world_size() * bytes));
  if (world_size() == 1 || tensor.numel() == 0) return start(operation, nullptr);
  return start(operation, [&](Deadline deadline) {
    Staging staging(transport_->memory());
    return staging.bring_back(transport_->all_reduce(staging.in_place(tensor), deadline));
  });
}

Work CheckedCommunicator::all_gather(at::Tensor output, at::Tensor input,
                                     CollectiveOptions options) {
  check_tensor(output);
  check_tensor(input);
  check_rows(output, input, world_size());
  const Operation operation = describe("all_gather", input, options);
  count_sent(next_rank(), (world_size() - 1) * static_cast<int64_t>(input.nbytes()));
  if (world_size() == 1) output.view({-1}).copy_(input.view({-1}));
  if (world_size() == 1 || input.numel() == 0) return start(operation, nullptr);
  return start(operation, [&](Deadline deadline) {
    Staging staging(transport_->memory());
    return staging.bring_back(
        transport_->all_gather(staging.output(output), staging.input(input), deadline));
  });
}

Work CheckedCommunicator::all_to_all(at::Tensor output, at::Tensor input, RowCounts rows,
                                     CollectiveOptions options) {
  check_tensor(output);
  check_tensor(input);
  check_counts(input, rows.input, world_size());
  check_counts(output, rows.output, world_size());
  LD_CHECK(output.sizes().slice(1) == input.sizes().slice(1) &&
               output.scalar_type() == input.scalar_type(),
           "rows of input and output differ in shape or dtype");
  LD_CHECK(rows.output[rank()] == rows.input[rank()], "a rank sends itself what it expects");
  const Operation operation = describe("all_to_all", input, options);
  const int64_t row_bytes = c10::multiply_integers(input.sizes().slice(1)) * input.element_size();
  for (int to = 0; to < world_size(); ++to) count_sent(to, rows.input[to] * row_bytes);
  if (world_size() == 1) output.copy_(input);
  // A rank without rows takes part all the same: others may have some.
  if (world_size() == 1 || row_bytes == 0) return start(operation, nullptr);
  return start(operation, [&](Deadline deadline) {
    Staging staging(transport_->memory());
    return staging.bring_back(
        transport_->all_to_all(as_byte_rows(staging.output(output), row_bytes),
                               as_byte_rows(staging.input(input), row_bytes), rows, deadline));
  });
}

void CheckedCommunicator::barrier(CollectiveOptions options) {
  const Operation operation = describe("barrier", {}, options);
  if (world_size() == 1) return start(operation, nullptr).wait();
  start(operation, [&](Deadline deadline) { return transport_->barrier(deadline); }).wait();
}

std::unique_ptr<Communicator> CheckedCommunicator::split(int64_t colour,
                                                         CollectiveOptions options) {
  at::Tensor gathered = at::empty({world_size(), 1}, at::kLong);
  all_gather(gathered, at::full({1}, colour, at::kLong),
             {.name = options.name, .timeout_s = options.timeout_s})
      .wait();
  const int64_t* values = gathered.const_data_ptr<int64_t>();
  const std::vector<int64_t> colours(values, values + world_size());
  const Operation operation = describe("split", {}, options);
  std::shared_ptr<Transport> transport;
  try {
    if (world_size() > 1) transport = split_transport(colours, operation.deadline);
  } catch (const TransportError& error) {
    fail(operation, error);
  }
  last_complete_ = operation.number;
  return std::unique_ptr<Communicator>(new CheckedCommunicator(
      *this, ranks_of_colour(colours, rank()), std::move(transport), options.name));
}

std::shared_ptr<Transport> CheckedCommunicator::split_transport(const std::vector<int64_t>& colours,
                                                                Deadline deadline) {
  if (may_share_memory(colours))
    if (auto shared = share_memory(*transport_, transport_, rank(), colours, deadline))
      return std::move(*shared);
  return transport_->split(colours, deadline);
}

/// All ranks answer alike: whether every part lies on one host, and some part has several ranks.
bool CheckedCommunicator::may_share_memory(const std::vector<int64_t>& colours) const {
  if (!shared_memory_wanted_ || transport_->shares_memory()) return false;
  std::map<int64_t, std::string> host_of_colour;
  for (int rank = 0; rank < world_size(); ++rank)
    if (host_of_colour.emplace(colours[rank], hosts_[rank]).first->second != hosts_[rank])
      return false;
  return static_cast<int>(host_of_colour.size()) < world_size();
}

void CheckedCommunicator::abort(const std::string& reason) {
  std::vector<std::shared_ptr<Transport>> transports;
  {
    const std::lock_guard lock(family_->mutex);
    if (!family_->failure.empty()) return;
    family_->failure = reason;
    for (const std::weak_ptr<Transport>& transport : family_->transports)
      transports.push_back(transport.lock());
  }
  for (const std::shared_ptr<Transport>& transport : transports)
    if (transport) transport->abandon(reason);
}

TrafficCounters CheckedCommunicator::traffic() const {
  const std::lock_guard lock(family_->mutex);
  return *traffic_.front();
}

CheckedCommunicator::Operation CheckedCommunicator::describe(const char* kind,
                                                             const at::Tensor& tensor,
                                                             const CollectiveOptions& options) {
  const double timeout_s = options.timeout_s > 0 ? options.timeout_s : timeout_s_;
  count([](TrafficCounters& traffic) { ++traffic.collectives; });
  Operation operation{kind, ++last_number_, std::string(options.name),
                      {},   timeout_s,      deadline_in(timeout_s)};
  if (tensor.defined())
    operation.size =
        fmt::format("{} x {}", tensor.numel(), c10::getDtypeNames(tensor.scalar_type()).first);
  require_usable(operation);
  return operation;
}

/// `start` is empty where nothing has to travel: the operation is complete at once.
Work CheckedCommunicator::start(Operation operation, const Start& start) {
  if (!start) {
    last_complete_ = operation.number;
    return {};
  }
  const Stopwatch stopwatch(*this);
  try {
    std::unique_ptr<Pending> pending = start(operation.deadline);
    return Work(std::make_unique<State>(*this, std::move(operation), std::move(pending)));
  } catch (const TransportError& error) {
    fail(operation, error);
  }
}

void CheckedCommunicator::finish(const Operation& operation, Pending& pending) {
  require_usable(operation);
  const Stopwatch stopwatch(*this);
  try {
    // The limit is for waiting: what was started long ago may have had nobody to carry it on.
    if (pending.wait_until(deadline_in(operation.timeout_s))) {
      last_complete_ = std::max(last_complete_, operation.number);
      return;
    }
  } catch (const TransportError& error) {
    fail(operation, error);
  }
  std::string found = fmt::format("no result after {:g} s (comm_timeout_s)", operation.timeout_s);
  if (last_complete_ > 0) found += fmt::format(", last complete #{}", last_complete_);
  const std::vector<int> missing = transport_->missing_ranks();
  if (!missing.empty()) found += ", missing " + name_ranks(missing);
  fail(operation, found,
       fmt::format("rank {} gave up on {} #{} after {:g} s", names_[rank()], operation.kind,
                   operation.number, operation.timeout_s));
}

/// `cause` is what later operations and, where the library can tell them, the peers repeat.
void CheckedCommunicator::fail(const Operation& operation, const std::string& found,
                               const std::string& cause) {
  abort(cause);
  std::vector<std::string> details;
  if (!operation.name.empty()) details.push_back(operation.name);
  if (!operation.size.empty()) details.push_back(operation.size);
  details.push_back(backend_);
  if (names_.size() < static_cast<size_t>(num_ranks_of_run_))
    details.push_back(group_text(group_, names_));
  throw CommError({.where = fmt::format("[rank {}/{} {}] {} #{} ({})", names_[rank()],
                                        num_ranks_of_run_, world_.host, operation.kind,
                                        operation.number, fmt::join(details, ", ")),
                   .found = found,
                   .expected = {},
                   .fix = "start again with resume_from_checkpoint: auto"});
}

void CheckedCommunicator::fail(const Operation& operation, const TransportError& error) {
  const auto* lost = dynamic_cast<const LostPeer*>(&error);
  const std::string found =
      lost ? fmt::format("lost {} [{}]", name_ranks({lost->peer()}), lost->sign()) : error.what();
  fail(operation, found, found);
}

void CheckedCommunicator::require_usable(const Operation& operation) {
  std::unique_lock lock(family_->mutex);
  const std::string failure = family_->failure;
  lock.unlock();
  if (!failure.empty()) fail(operation, failure, failure);
}

std::string CheckedCommunicator::name_ranks(const std::vector<int>& ranks) const {
  std::vector<std::string> names;
  for (const int rank : ranks) names.push_back(fmt::format("{} ({})", names_[rank], hosts_[rank]));
  return fmt::format("{} {}", ranks.size() == 1 ? "rank" : "ranks", fmt::join(names, ", "));
}

/// Here and in whatever this one was split from.
void CheckedCommunicator::count(const std::function<void(TrafficCounters&)>& add) {
  const std::lock_guard lock(family_->mutex);
  for (const std::shared_ptr<TrafficCounters>& traffic : traffic_) add(*traffic);
}

void CheckedCommunicator::count_sent(int to, int64_t bytes) {
  if (to == rank()) return;
  const bool same_host = hosts_[to] == world_.host;
  count([&](TrafficCounters& traffic) {
    (same_host ? traffic.bytes_same_host : traffic.bytes_other_host) += bytes;
  });
}

}  // namespace lora_dist
