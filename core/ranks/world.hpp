// Where a rank finds itself, as a plain value. Filled by launcher/environments, read by everyone.
#pragma once

#include <string>

namespace lora_dist {

struct WorldInfo {
  int rank = 0;
  int world_size = 1;
  int local_rank = 0;              // index among the ranks of this host
  int local_world_size = 1;        // ranks on this host
  bool knows_neighbours = true;    // false: the two above are to be found by comparing host names
  std::string host;                // name of this host
  std::string launcher = "alone";  // alone | mpirun | srun | torchrun | mpiexec | env
  std::string master_addr;         // where the TCP store listens; empty under mpirun
  int master_port = 0;
};

}  // namespace lora_dist
