#include "dist/reducers/reducer.hpp"

namespace lora_dist {

#define LORA_DIST_REDUCER(name) \
  std::unique_ptr<GradientReducer> make_##name##_reducer(const ReducerArgs& args);
#include "dist/reducers/reducers.def"
#undef LORA_DIST_REDUCER

const Registry<ReducerFactory>& reducers() {
  static const Registry<ReducerFactory> registry("reducer", {
#define LORA_DIST_REDUCER(name) {#name, make_##name##_reducer},
#include "dist/reducers/reducers.def"
#undef LORA_DIST_REDUCER
                                                            });
  return registry;
}

}  // namespace lora_dist
