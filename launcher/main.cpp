// The program: find out which rank this is, run the command, leave with its exit code.
#include <c10/util/Logging.h>

#include "core/base/error.hpp"
#include "core/base/log.hpp"
#include "core/ops/ops.hpp"
#include "core/ranks/world.hpp"
#include "launcher/command_line.hpp"
#include "launcher/config_words.hpp"
#include "launcher/environments/environment.hpp"
#include "launcher/environments/library_path.hpp"
#include "launcher/environments/wait_policy.hpp"
#include "launcher/failure.hpp"

// A program's .preinit_array runs before the constructors of its libraries; a sanitizer's own
// library is one of them.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
[[gnu::section(".preinit_array"),
  gnu::used]] void (*before_libraries)(int, char**, char**) = lora_dist::limit_spinning;
#endif

namespace {

/// Commands that are a run's ask again, and refuse what is wrong with the environment; the others,
/// --help among them, do without.
lora_dist::WorldInfo world_or_alone() {
  try {
    return lora_dist::detect_world();
  } catch (const lora_dist::ConfigError&) {
    return {};
  }
}

}  // namespace

int main(int argc, char** argv) {
  lora_dist::restore_library_path();
  // LibTorch's own lines come with a stack each; what stops a run comes as an exception as well.
  FLAGS_caffe2_log_level = c10::GLOG_FATAL;
  lora_dist::ops::fix_order_of_sums();
  lora_dist::teach_config_words();
  lora_dist::run_and_leave([&] {
    const lora_dist::WorldInfo world = world_or_alone();
    lora_dist::open_log({.rank = world.rank, .world_size = world.world_size, .file = ""});
    return lora_dist::run_command_line({argv + 1, argv + argc});
  });
}
