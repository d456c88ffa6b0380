// The parts of a data set, made or found by ranks that see the same files.
#pragma once

#include "data/preparation/dataset_prepare.hpp"
#include "data/shards/parts_dataset.hpp"

namespace lora_dist {

/// Builds what is missing below request.prepared_dir and answers how to open it; for data that are
/// parts already, checks them and answers where they lie.
///
/// Ranks   collective; all see the same sources and the same prepared_dir.
/// Errors  as prepare_dataset.
PartsRequest prepare_parts(const PrepareRequest& request, const SampleEncoder& encoder,
                           Communicator& world);

/// The folder below prepared_dir that holds the parts of this fingerprint.
std::string folder_of_parts(const std::string& prepared_dir, const std::string& fingerprint);

}  // namespace lora_dist
