#include "core/tasks/task_kind.hpp"

namespace lora_dist {

#define LORA_DIST_TASK(file, name) TaskKind file##_task();
#include "core/tasks/tasks.def"
#undef LORA_DIST_TASK

const Registry<TaskKind>& tasks() {
  static const Registry<TaskKind> registry("task_type", {
#define LORA_DIST_TASK(file, name) {name, file##_task()},
#include "core/tasks/tasks.def"
#undef LORA_DIST_TASK
                                                        });
  return registry;
}

}  // namespace lora_dist
