// The buckets of a step in the order in which its backward pass completes them.
#pragma once

#include "core/summing/tree_levels.hpp"
#include "dist/reducers/reducer.hpp"

namespace lora_dist {

class BucketWalk {
 public:
  explicit BucketWalk(const ReducerArgs& args)
      : buckets_(
            gradient_buckets(args.num_elements, args.world.world_size(), args.bucket_elements)) {}

  void restart() { next_ = 0; }
  /// Whether the next bucket lies where the gradient is final.
  bool has_next(int64_t first_final_element) const {
    return next_ < buckets_.size() && buckets_[next_].first >= first_final_element;
  }
  const Bucket& take() { return buckets_[next_++]; }

 private:
  const std::vector<Bucket> buckets_;
  size_t next_ = 0;
};

}  // namespace lora_dist
