#include "data/checkpoints/store.hpp"

#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "core/base/error.hpp"
#include "core/base/log.hpp"
#include "data/checkpoints/writer.hpp"

namespace lora_dist {
namespace {

/// One thread that writes one checkpoint at a time; at most one more waits, so that memory holds
/// two snapshots.
class BackgroundStore final : public CheckpointStore {
 public:
  explicit BackgroundStore(StoreOptions options)
      : options_(std::move(options)), thread_([this] { work(); }) {}

  ~BackgroundStore() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
    if (error_) report_lost_error();
  }

  void save(TrainingState state) override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !waiting_ || error_; });
    rethrow();
    waiting_ = std::move(state);
    changed_.notify_all();
  }

  void flush() override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return (!waiting_ && !writing_) || error_; });
    rethrow();
  }

 private:
  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return waiting_ || stopping_; });
      if (!waiting_) return;
      const TrainingState state = *std::exchange(waiting_, std::nullopt);
      writing_ = true;
      changed_.notify_all();
      lock.unlock();
      std::exception_ptr error;
      try {
        write_checkpoint(options_, state);
        rotate_checkpoints(options_, state);
      } catch (...) {
        error = std::current_exception();
      }
      lock.lock();
      writing_ = false;
      if (error && !error_) error_ = error;
      changed_.notify_all();
    }
  }

  void rethrow() {
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }

  void report_lost_error() const {
    try {
      std::rethrow_exception(error_);
    } catch (const std::exception& error) {
      log_error(error.what());
    }
  }

  StoreOptions options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<TrainingState> waiting_;
  bool writing_ = false;
  bool stopping_ = false;
  std::exception_ptr error_;  // of the thread, not yet thrown
  std::thread thread_;        // last: starts when all the rest is there
};

}  // namespace

std::unique_ptr<CheckpointStore> make_checkpoint_store(StoreOptions options) {
  remove_leftovers(options.output_dir);
  return std::make_unique<BackgroundStore>(std::move(options));
}

}  // namespace lora_dist
