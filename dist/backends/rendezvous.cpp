#include "dist/backends/rendezvous.hpp"

#include <type_traits>

#include "dist/backends/meeting.hpp"

namespace lora_dist {
namespace {

constexpr double kFarewellS = 5;
constexpr const char* kHeard = "heard";  // texts, over all ranks but 0

class MpiOrStore final : public Rendezvous {
 public:
  explicit MpiOrStore(const BackendOptions& options) : options_(options) {
    explained([&] {
      if (options.world.master_addr.empty()) {
        point_.session = MpiSession::join(options.world, options.startup_timeout_s);
      } else {
        point_ = meet(options);
      }
    });
  }

  // The store goes with rank 0: the others are given time to read what they were told.
  ~MpiOrStore() override {
    if (!point_.store || rank() != 0) return;
    const int64_t last = num_texts_ * (options_.world.world_size - 1);
    try {
      poll_until(deadline_in(kFarewellS), [&] { return point_.store->add(kHeard, 0) >= last; });
    } catch (const std::exception&) {
      // Who leaves has nobody to tell.
    }
  }

  int rank() const override { return options_.world.rank; }

  std::string from_rank_zero(const std::string& text) override {
    return explained([&] {
      return point_.store
                 ? from_store(text)
                 : point_.session->broadcast_text(text, deadline_in(options_.startup_timeout_s));
    });
  }

  std::vector<std::string> at_rank_zero(const std::string& text) override {
    return explained([&] {
      return point_.store
                 ? at_store_of_rank_zero(text)
                 : point_.session->gather_texts(text, deadline_in(options_.startup_timeout_s));
    });
  }

 private:
  std::string from_store(const std::string& text) {
    const std::string key = fmt::format("text-{}", ++num_texts_);
    if (rank() == 0) set(key, text);
    const std::string told = get(key);
    if (rank() != 0) point_.store->add(kHeard, 1);
    return told;
  }

  std::vector<std::string> at_store_of_rank_zero(const std::string& text) {
    const int gather = ++num_gathers_;
    const auto key = [&](int rank) { return fmt::format("gather-{}-{}", gather, rank); };
    if (rank() != 0) {
      set(key(rank()), text);
      return {};
    }
    std::vector<std::string> all = {text};
    for (int rank = 1; rank < options_.world.world_size; ++rank) all.push_back(get(key(rank)));
    return all;
  }

  void set(const std::string& key, const std::string& text) {
    point_.store->set(key, std::vector<uint8_t>(text.begin(), text.end()));
  }

  std::string get(const std::string& key) {
    const std::vector<uint8_t> text = point_.store->get(key);
    return {text.begin(), text.end()};
  }

  /// Runs `step`; its failures are told as those of a start.
  template <class Step>
  std::invoke_result_t<Step> explained(const Step& step) const {
    try {
      return step();
    } catch (const Error&) {
      throw;
    } catch (const std::exception& error) {
      throw did_not_come_together(
          options_, "rendezvous", error,
          "look at the other ranks' logs, and check that all hosts reach rank 0's");
    }
  }

  const BackendOptions options_;
  MeetingPoint point_;
  int num_texts_ = 0, num_gathers_ = 0;
};

}  // namespace

std::unique_ptr<Rendezvous> join_rendezvous(const BackendOptions& options) {
  return std::make_unique<MpiOrStore>(options);
}

}  // namespace lora_dist
