#include "tests/support/ranks.hpp"

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <thread>

#include "dist/backends/backend.hpp"

namespace lora_dist {
namespace {

/// Which ranks are done, and the first exception.
class Supervision {
 public:
  explicit Supervision(size_t num_ranks) : done_(num_ranks, false) {}

  void finish(size_t rank, std::exception_ptr error) {
    const std::lock_guard lock(mutex_);
    done_[rank] = true;
    ++num_done_;
    if (error && !first_error_) first_error_ = error;
    changed_.notify_all();
  }

  void wait_or_abort(double limit_s) {
    std::unique_lock lock(mutex_);
    if (changed_.wait_for(lock, std::chrono::duration<double>(limit_s),
                          [&] { return num_done_ == done_.size(); }))
      return;
    std::fprintf(stderr, "run_ranks: still running after %g s:", limit_s);
    for (size_t rank = 0; rank < done_.size(); ++rank)
      if (!done_[rank]) std::fprintf(stderr, " rank %zu", rank);
    std::fprintf(stderr, "\n");
    std::abort();  // threads cannot be ended from outside
  }

  void rethrow() const {
    if (first_error_) std::rethrow_exception(first_error_);
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<bool> done_;  // [rank]
  size_t num_done_ = 0;
  std::exception_ptr first_error_;
};

}  // namespace

void run_ranks(std::vector<std::function<std::unique_ptr<Communicator>()>> make_rank,
               const std::function<void(Communicator&)>& body, const RanksOptions& options) {
  Supervision supervision(make_rank.size());
  std::vector<std::thread> threads;
  for (size_t rank = 0; rank < make_rank.size(); ++rank) {
    threads.emplace_back([&, rank] {
      std::unique_ptr<Communicator> world;
      try {
        world = make_rank[rank]();
        body(*world);
        supervision.finish(rank, nullptr);
      } catch (const std::exception& error) {
        supervision.finish(rank,
                           std::current_exception());  // before abort(), whose echoes come later
        if (world) world->abort(error.what());
      }
    });
  }
  supervision.wait_or_abort(options.limit_s);
  for (std::thread& thread : threads) thread.join();
  supervision.rethrow();
}

void run_ranks(int world_size, const std::function<void(Communicator&)>& body,
               const RanksOptions& options) {
  std::vector<std::unique_ptr<Communicator>> world =
      make_local_world(world_size, options.timeout_s, options.hosts);
  std::vector<std::function<std::unique_ptr<Communicator>()>> make_rank;
  for (std::unique_ptr<Communicator>& rank : world)
    make_rank.push_back([&rank] { return std::move(rank); });
  run_ranks(std::move(make_rank), body, options);
}

}  // namespace lora_dist
