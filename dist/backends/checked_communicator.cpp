#include "dist/backends/checked_communicator.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>

#include <c10/core/ScalarType.h>

#include "core/error.hpp"

namespace lora_dist {
namespace {

/// Adds the time from its birth to its death.
class Stopwatch {
 public:
  explicit Stopwatch(double& total_s)
      : total_s_(total_s), begin_(std::chrono::steady_clock::now()) {}
  ~Stopwatch() {
    total_s_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
  }

 private:
  double& total_s_;
  std::chrono::steady_clock::time_point begin_;
};

void check_tensor(const at::Tensor& tensor) {
  LD_CHECK(tensor.defined() && tensor.is_contiguous(), "collectives take contiguous tensors");
  LD_CHECK(tensor.device().is_cpu(), "this backend moves host tensors");
}

/// One row of `rows` for each rank, with the dtype of `row`.
void check_rows(const at::Tensor& rows, const at::Tensor& row, int world_size) {
  LD_CHECK(rows.dim() >= 1 && rows.size(0) == world_size, "the first dimension counts ranks");
  LD_CHECK(rows.scalar_type() == row.scalar_type() && rows.numel() == world_size * row.numel(),
           "rows and row differ in size or dtype");
}

}  // namespace

Deadline deadline_in(double seconds) {
  return std::chrono::steady_clock::now() +
         std::chrono::duration_cast<std::chrono::steady_clock::duration>(
             std::chrono::duration<double>(seconds));
}

double seconds_until(Deadline deadline) {
  return std::max(
      0.0, std::chrono::duration<double>(deadline - std::chrono::steady_clock::now()).count());
}

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
      world_(options.world),
      timeout_s_(options.startup_timeout_s) {
  hosts_.assign(world_size(), world_.host);  // until the ranks have told each other
  hosts_ = all_gather_text(*this, world_.host);
  timeout_s_ = options.timeout_s;
  traffic_ = {};
  last_complete_ = 0;
}

Work CheckedCommunicator::broadcast(at::Tensor tensor, int root, CollectiveOptions options) {
  check_tensor(tensor);
  LD_CHECK(root >= 0 && root < world_size(), "root is no rank of this world");
  const Operation operation = describe("broadcast", tensor, options);
  if (next_rank() != root) count_sent(next_rank(), tensor.nbytes());
  if (world_size() == 1 || tensor.numel() == 0) return start(operation, nullptr);
  return start(operation,
               [&](Deadline deadline) { return transport_->broadcast(tensor, root, deadline); });
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
  return start(operation,
               [&](Deadline deadline) { return transport_->all_reduce(tensor, deadline); });
}

Work CheckedCommunicator::all_gather(at::Tensor output, at::Tensor input,
                                     CollectiveOptions options) {
  check_tensor(output), check_tensor(input);
  check_rows(output, input, world_size());
  const Operation operation = describe("all_gather", input, options);
  count_sent(next_rank(), (world_size() - 1) * static_cast<int64_t>(input.nbytes()));
  if (world_size() == 1) output.view({-1}).copy_(input.view({-1}));
  if (world_size() == 1 || input.numel() == 0) return start(operation, nullptr);
  return start(operation,
               [&](Deadline deadline) { return transport_->all_gather(output, input, deadline); });
}

Work CheckedCommunicator::all_to_all(at::Tensor output, at::Tensor input,
                                     CollectiveOptions options) {
  check_tensor(output), check_tensor(input);
  LD_CHECK(input.dim() >= 1 && input.size(0) == world_size(), "the first dimension counts ranks");
  LD_CHECK(output.sizes() == input.sizes() && output.scalar_type() == input.scalar_type(),
           "input and output differ in shape or dtype");
  const Operation operation = describe("all_to_all", input, options);
  for (int to = 0; to < world_size(); ++to)
    count_sent(to, static_cast<int64_t>(input.nbytes()) / world_size());
  if (world_size() == 1) output.copy_(input);
  if (world_size() == 1 || input.numel() == 0) return start(operation, nullptr);
  return start(operation,
               [&](Deadline deadline) { return transport_->all_to_all(output, input, deadline); });
}

void CheckedCommunicator::barrier(CollectiveOptions options) {
  const Operation operation = describe("barrier", {}, options);
  if (world_size() == 1) return start(operation, nullptr).wait();
  start(operation, [&](Deadline deadline) { return transport_->barrier(deadline); }).wait();
}

void CheckedCommunicator::abort(const std::string& reason) {
  if (!failure_.empty()) return;
  failure_ = reason;
  transport_->abandon(reason);
}

CheckedCommunicator::Operation CheckedCommunicator::describe(const char* kind,
                                                             const at::Tensor& tensor,
                                                             const CollectiveOptions& options) {
  const double timeout_s = options.timeout_s > 0 ? options.timeout_s : timeout_s_;
  Operation operation{kind,      ++traffic_.collectives, std::string(options.name), {},
                      timeout_s, deadline_in(timeout_s)};
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
  const Stopwatch stopwatch(traffic_.seconds);
  try {
    std::unique_ptr<Pending> pending = start(operation.deadline);
    return Work(std::make_unique<State>(*this, std::move(operation), std::move(pending)));
  } catch (const TransportError& error) {
    fail(operation, error.what(), error.what());
  }
}

void CheckedCommunicator::finish(const Operation& operation, Pending& pending) {
  require_usable(operation);
  const Stopwatch stopwatch(traffic_.seconds);
  try {
    if (pending.wait_until(operation.deadline)) {
      last_complete_ = std::max(last_complete_, operation.number);
      return;
    }
  } catch (const TransportError& error) {
    fail(operation, error.what(), error.what());
  }
  std::string found = fmt::format("no result after {:g} s (comm_timeout_s)", operation.timeout_s);
  if (last_complete_ > 0) found += fmt::format(", last complete #{}", last_complete_);
  const std::vector<int> missing = transport_->missing_ranks();
  if (!missing.empty()) found += ", missing " + name_ranks(missing);
  fail(operation, found,
       fmt::format("rank {} gave up on {} #{} after {:g} s", rank(), operation.kind,
                   operation.number, operation.timeout_s));
}

/// `cause` is what later operations and, where the library can tell them, the peers repeat.
void CheckedCommunicator::fail(const Operation& operation, const std::string& found,
                               const std::string& cause) {
  if (failure_.empty()) abort(cause);
  std::vector<std::string> details;
  if (!operation.name.empty()) details.push_back(operation.name);
  if (!operation.size.empty()) details.push_back(operation.size);
  details.emplace_back(backend());
  throw CommError(
      {.where = fmt::format("[rank {}/{} {}] {} #{} ({})", rank(), world_size(), world_.host,
                            operation.kind, operation.number, fmt::join(details, ", ")),
       .found = found,
       .expected = {},
       .fix = "start again with resume_from_checkpoint: auto"});
}

void CheckedCommunicator::require_usable(const Operation& operation) {
  if (!failure_.empty()) fail(operation, failure_, failure_);
}

std::string CheckedCommunicator::name_ranks(const std::vector<int>& ranks) const {
  std::vector<std::string> names;
  for (const int rank : ranks) names.push_back(fmt::format("{} ({})", rank, hosts_[rank]));
  return fmt::format("{} {}", ranks.size() == 1 ? "rank" : "ranks", fmt::join(names, ", "));
}

void CheckedCommunicator::count_sent(int to, int64_t bytes) {
  if (to == rank()) return;
  (hosts_[to] == world_.host ? traffic_.bytes_same_host : traffic_.bytes_other_host) += bytes;
}

}  // namespace lora_dist
