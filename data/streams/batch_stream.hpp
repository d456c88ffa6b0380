// The order in which a data set is learnt, and its batches.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/sockets/batch_stream.hpp"
#include "data/samples/dataset.hpp"

namespace lora_dist {

struct StreamOptions {
  std::vector<int64_t> samples;  // of the data set; empty: all
  int64_t batch_size = 4;
  int64_t slots_per_step = 1;  // micro-batches of one optimiser step over all ranks
  double epochs = 3;
  int64_t max_steps = -1;
  int64_t max_seq_length = 0;  // padding to a multiple of 8 stops here; 0: no limit
  bool packing = false;        // rows of a cost up to max_seq_length; batch_size counts rows
  bool shuffle = true;
  int64_t seed = 42;
  int rank = 0;
  int world_size = 1;
  bool prefetch = true;  // a thread reads the next steps' slots of this rank ahead
};

/// The training order over a data set, and its batches (data/streams/epoch_order.hpp).
/// `dataset` must outlive it.
std::unique_ptr<BatchStream> make_batch_stream(Dataset& dataset, StreamOptions options);

}  // namespace lora_dist
