// What every dialect of data/exports keeps to, with an adapter of every method.

#include <gtest/gtest.h>

#include "core/adapters/adapter.hpp"
#include "data/exports/adapter_files.hpp"
#include "data/exports/dialect.hpp"
#include "tests/support/temp_folder.hpp"
#include "tests/support/three_layers.hpp"

namespace lora_dist {
namespace {

struct WrittenAdapter {
  AdapterDescription description;
  NamedTensors tensors;
};

/// Values that were drawn; one module has a rank and an alpha of its own.
WrittenAdapter random_adapter(std::string_view method) {
  at::manual_seed(31);
  ThreeLayers source;
  LinearGroup group(source.linears());
  WrittenAdapter written;
  written.description.base_model = "models/base";
  AdapterConfig& settings = written.description.settings;
  settings.method = method;
  settings.lora_rank = 4;
  settings.lora_alpha = 6;
  settings.rank_pattern = {{"v_proj", 2}};
  settings.alpha_pattern = {{"v_proj", 5}};
  settings.target_modules = {{"q_proj", "v_proj"}, {}, false};
  const auto adapter = make_adapter(
      {.groups = {&group}, .config = settings, .targets = {"attn.q_proj", "attn.v_proj"}});
  adapter->params().flat().copy_(at::randn({adapter->params().num_elements()}));
  written.tensors = adapter->params().named_tensors();
  return written;
}

class EveryDialect : public testing::TestWithParam<std::tuple<std::string_view, std::string_view>> {
 protected:
  const AdapterDialect& dialect_ = exports().at(std::get<0>(GetParam()))();
  WrittenAdapter written_ = random_adapter(std::get<1>(GetParam()));
};

TEST_P(EveryDialect, NamesEachTensorBothWays) {
  for (const auto& [name, tensor] : written_.tensors) {
    const ModuleRole place = ModuleRole::of(name);
    EXPECT_EQ(dialect_.parse(dialect_.key_of(place)), place);
  }
  EXPECT_FALSE(dialect_.parse("model.layers.0.self_attn.q_proj.weight")) << "a base's tensor";
}

TEST_P(EveryDialect, ReadsBackWhatItWrote) {
  const TempFolder folder;
  EXPECT_FALSE(dialect_.recognises(folder.path())) << "an empty folder";
  dialect_.write(folder.path(), written_.description, written_.tensors, "fp32");
  ASSERT_EQ(find_dialect(folder.path()), &dialect_);
  const LoadedAdapter read = load_adapter(folder.path());
  ASSERT_EQ(read.tensors.size(), written_.tensors.size());
  for (size_t i = 0; i < read.tensors.size(); ++i) {
    EXPECT_EQ(read.tensors[i].first, written_.tensors[i].first);
    EXPECT_TRUE(at::equal(read.tensors[i].second, written_.tensors[i].second));
  }
  const AdapterConfig& found = read.description.settings;
  const AdapterConfig& wanted = written_.description.settings;
  EXPECT_EQ(found.method, wanted.method);
  EXPECT_EQ(found.lora_rank, wanted.lora_rank);
  EXPECT_EQ(found.lora_alpha, wanted.lora_alpha);
  EXPECT_EQ(found.rank_pattern, wanted.rank_pattern);
  EXPECT_EQ(found.alpha_pattern, wanted.alpha_pattern);
}

INSTANTIATE_TEST_SUITE_P(Registry, EveryDialect,
                         testing::Combine(testing::ValuesIn(exports().names()),
                                          testing::ValuesIn(adapters().names())),
                         [](const auto& info) {
                           return fmt::format("{}_of_{}", std::get<0>(info.param),
                                              std::get<1>(info.param));
                         });

}  // namespace
}  // namespace lora_dist
