// What every adapter keeps to, and several of them on one base.

#include <set>

#include <gtest/gtest.h>

#include "core/adapters/adapter.hpp"
#include "tests/support/three_layers.hpp"

namespace lora_dist {
namespace {

constexpr int64_t kRows = 12;
const std::vector<std::string>& kNames = ThreeLayers::kNames;

/// Layers with an adapter of a method on the first and the last, whose values were drawn.
class Adapted {
 public:
  explicit Adapted(const std::string& method = "lora") {
    at::manual_seed(23);
    group = LinearGroup(source.linears(/*with_bias=*/true));
    x = at::randn({kRows, ThreeLayers::kIn});
    for (const int64_t width : ThreeLayers::kOut) dy.push_back(at::randn({kRows, width}));
    config.method = method;
    config.rank_pattern = {{"v_proj", 3}};
  }

  Adapter& add(int id, double weight = 1) {
    adapters.push_back(make_adapter(
        {.groups = {&group}, .config = config, .targets = {kNames.front(), kNames.back()}}));
    Adapter& adapter = *adapters.back();
    adapter.params().flat().copy_(at::randn({adapter.params().num_elements()}) * 0.2);
    adapter.attach(weight, id);
    return adapter;
  }

  double loss(const PassContext& pass = {}) const {
    const std::vector<at::Tensor> y = group.forward(x, pass);
    double sum = 0;
    for (size_t l = 0; l < y.size(); ++l) sum += (y[l] * dy[l]).sum().item<double>();
    return sum;
  }
  at::Tensor backward(const PassContext& pass = {}) const {
    at::Tensor dx;
    group.backward(x, dy, dx, /*need_dx=*/true, pass);
    return dx;
  }

  ThreeLayers source;
  LinearGroup group{{}};
  AdapterConfig config;
  at::Tensor x;
  std::vector<at::Tensor> dy;
  std::vector<std::unique_ptr<Adapter>> adapters;
};

/// The slope of `loss` as `values` move along `direction`.
double slope(const std::function<double()>& loss, at::Tensor values, const at::Tensor& direction) {
  constexpr double kStep = 0.02;
  const at::Tensor before = values.clone();
  values.copy_(before + kStep * direction);
  const double above = loss();
  values.copy_(before - kStep * direction);
  const double below = loss();
  values.copy_(before);
  return (above - below) / (2 * kStep);
}

void expect_near(double found, double wanted) {
  EXPECT_NEAR(found, wanted, 1e-3 * (1 + std::abs(wanted)));
}

class EveryAdapter : public testing::TestWithParam<std::string_view> {
 protected:
  Adapted adapted_{std::string(GetParam())};
};

TEST_P(EveryAdapter, LearnsAsManyNumbersAsItsKindSays) {
  const AdapterKind& kind = adapters().at(GetParam());
  int64_t expected = 0;
  for (const size_t l : {size_t{0}, kNames.size() - 1}) {
    expected += kind.parameters(adapted_.config, kNames[l], ThreeLayers::kOut[l], ThreeLayers::kIn);
    const AdapterLoad load = kind.load(adapted_.config, {kNames[l]}, ThreeLayers::kIn, PassShape{});
    EXPECT_GE(load.backward_bytes, load.forward_bytes);
  }
  EXPECT_EQ(adapted_.add(0).params().num_elements(), expected);
}

TEST_P(EveryAdapter, NamesEachTensorByItsModuleAndARoleWithoutADot) {
  std::set<std::string> names;
  for (const TrainableParams::Entry& entry : adapted_.add(0).params().entries()) {
    EXPECT_TRUE(entry.module == kNames.front() || entry.module == kNames.back()) << entry.module;
    EXPECT_EQ(ModuleRole::of(entry.name()), entry);
    EXPECT_TRUE(names.insert(entry.name()).second) << entry.name();
  }
}

TEST_P(EveryAdapter, ChangesNothingWhenItIsFresh) {
  const std::vector<at::Tensor> base = adapted_.group.forward(adapted_.x, {});
  Adapter& adapter = adapted_.add(0);
  adapter.initialize(/*seed=*/5);
  const std::vector<at::Tensor> outputs = adapted_.group.forward(adapted_.x, {});
  for (size_t l = 0; l < outputs.size(); ++l) EXPECT_TRUE(at::equal(outputs[l], base[l]));
}

TEST_P(EveryAdapter, GivesTheSlopesOfTheLoss) {
  Adapter& adapter = adapted_.add(0);
  TrainableParams& params = adapter.params();
  const at::Tensor dx = adapted_.backward();
  const auto loss = [&] {
    adapter.refresh();
    return adapted_.loss();
  };
  for (size_t i = 0; i < params.entries().size(); ++i) {
    const at::Tensor direction = at::randn(params.entries()[i].shape);
    expect_near((params.gradient_view(i) * direction).sum().item<double>(),
                slope(loss, params.view(i), direction));
  }
  const at::Tensor direction = at::randn_like(adapted_.x);
  expect_near((dx * direction).sum().item<double>(), slope(loss, adapted_.x, direction));
}

TEST_P(EveryAdapter, MergesIntoWhatItComputes) {
  adapted_.add(0, /*weight=*/0.5);
  const std::vector<at::Tensor> outputs = adapted_.group.forward(adapted_.x, {});
  for (size_t l = 0; l < outputs.size(); ++l) {
    at::Tensor merged = at::matmul(
        adapted_.x, adapted_.group.merged_weight(l, adapted_.source.acquire(l).as_tensor()).t());
    if (l + 1 == outputs.size())
      merged += adapted_.group.merged_bias(l, adapted_.source.acquire(outputs.size()).as_tensor());
    EXPECT_TRUE(at::allclose(merged, outputs[l], 1e-4, 1e-4)) << kNames[l];
  }
}

INSTANTIATE_TEST_SUITE_P(Registry, EveryAdapter, testing::ValuesIn(adapters().names()),
                         [](const auto& info) { return std::string(info.param); });

// As PEFT's create_loraplus_optimizer sorts them.
TEST(LoraPlus, LetsTheMatricesBLearnAtTheirOwnRate) {
  Adapted adapted;
  adapted.config.loraplus_lr_ratio = 16;
  const TrainableParams& params = adapted.add(0).params();
  std::vector<ParameterGroup> expected;
  for (const TrainableParams::Entry& entry : params.entries())
    expected.push_back({entry.offset, entry.end(), entry.role == "lora_B" ? 16.0 : 1.0});
  EXPECT_EQ(params.groups(), expected);
  adapted.config.loraplus_lr_ratio = 1;
  EXPECT_EQ(adapted.add(1).params().groups(),
            (std::vector<ParameterGroup>{{0, params.num_elements(), 1}}));
}

// --- several adapters

/// A batch whose rows belong to adapter 0, to adapter 1, and to none.
const std::vector<ActiveAdapter> kShared = {{.id = 0, .weight = 1, .first_row = 0, .end_row = 5},
                                            {.id = 1, .weight = 0.5, .first_row = 5, .end_row = 9}};

TEST(AdapterSets, ServeTheRowsOfABatchAsEachAdapterAlone) {
  Adapted adapted;
  const std::vector<at::Tensor> base = adapted.group.forward(adapted.x, {});
  adapted.add(0), adapted.add(1);
  const auto outputs_of = [&](const std::vector<ActiveAdapter>& set) {
    return adapted.group.forward(adapted.x, {.adapters = set});
  };
  const auto shared = outputs_of(kShared), none = outputs_of({});
  const auto first = outputs_of({{.id = 0}}), second = outputs_of({{.id = 1, .weight = 0.5}});
  for (size_t l = 0; l < base.size(); ++l) {
    EXPECT_TRUE(at::equal(none[l], base[l])) << kNames[l];
    EXPECT_TRUE(at::equal(shared[l].slice(0, 9), base[l].slice(0, 9))) << kNames[l];
    EXPECT_TRUE(at::allclose(shared[l].slice(0, 0, 5), first[l].slice(0, 0, 5), 1e-6, 1e-6));
    EXPECT_TRUE(at::allclose(shared[l].slice(0, 5, 9), second[l].slice(0, 5, 9), 1e-6, 1e-6));
    EXPECT_EQ(at::equal(first[l], base[l]), l == 1) << "k_proj has no adapter";
  }
}

TEST(AdapterSets, RunAllThatAreAttachedWhereThePassNamesNone) {
  Adapted adapted;
  adapted.add(0, 1), adapted.add(1, 0.5);
  const auto outputs = adapted.group.forward(adapted.x, {});
  const auto named = adapted.group.forward(
      adapted.x, {.adapters = {{{.id = 0, .weight = 1}, {.id = 1, .weight = 0.5}}}});
  for (size_t l = 0; l < outputs.size(); ++l) EXPECT_TRUE(at::equal(outputs[l], named[l]));
}

TEST(AdapterSets, GiveEachAdapterTheGradientOfItsRowsAlone) {
  for (const double dropout : {0.0, 0.3}) {
    Adapted together, apart;
    for (Adapted* adapted : {&together, &apart}) {
      adapted->config.lora_dropout = dropout;
      at::manual_seed(29);
      adapted->add(0), adapted->add(1);
    }
    PassContext pass{.training = true, .seed = 3, .step = 2, .adapters = kShared};
    const at::Tensor dx = together.backward(pass);
    at::Tensor wanted_dx = apart.backward({.adapters = {{}}});
    for (const ActiveAdapter& active : kShared) {
      const auto own = [&](const at::Tensor& all) {
        return all.slice(0, active.first_row, active.end_row);
      };
      std::vector<at::Tensor> own_dy;
      for (const at::Tensor& dy : apart.dy) own_dy.push_back(own(dy));
      at::Tensor own_dx;
      pass.adapters = {{{.id = active.id, .weight = active.weight}}};
      apart.group.backward(own(apart.x), own_dy, own_dx, /*need_dx=*/true, pass);
      own(wanted_dx).copy_(own_dx);
    }
    EXPECT_TRUE(at::allclose(dx, wanted_dx, 1e-5, 1e-5));
    for (size_t i = 0; i < together.adapters.size(); ++i) {
      const at::Tensor gradient = together.adapters[i]->params().gradient();
      EXPECT_GT(gradient.abs().max().item<float>(), 0);
      EXPECT_TRUE(at::allclose(gradient, apart.adapters[i]->params().gradient(), 1e-6, 1e-6));
    }
  }
}

TEST(AdapterSets, NameAnAdapterOnce) {
  Adapted adapted;
  adapted.add(3);
  EXPECT_DEATH(adapted.add(3), "adapter 3 is attached already");
}

TEST(AdapterSets, RefuseRowsThatTheBatchDoesNotHave) {
  Adapted adapted;
  adapted.add(0);
  EXPECT_DEATH(adapted.loss({.adapters = {{{.first_row = 4, .end_row = kRows + 1}}}}),
               "rows 4 to 13 of 12");
}

// --- an adapter that multiplies

/// Scales every output by a learnt factor, bias included, as IA3 does in attention.
class Scaling final : public AdapterBranch {
 public:
  explicit Scaling(size_t layer) : layer_(layer) {
    params.add({kNames[layer], "scale"}, {ThreeLayers::kOut[layer]});
    params.allocate(at::kCPU);
    params.flat().copy_(1 + 0.3 * at::randn({params.num_elements()}));
  }
  void forward(const BranchInput&, std::vector<at::Tensor>&) override {}
  void backward(const BranchInput&, const std::vector<at::Tensor>&, at::Tensor&, bool) override {}
  bool acts_after() const override { return true; }
  void after(const BranchInput&, std::vector<at::Tensor>& y) override {
    y[layer_].mul_(params.view(0));
  }
  void backward_after(const BranchInput&, const std::vector<at::Tensor>& y,
                      std::vector<at::Tensor>& dy, at::Tensor&, bool) override {
    params.gradient_view(0).add_((dy[layer_] * y[layer_]).sum(0));
    dy[layer_].mul_(params.view(0));
  }
  int64_t end_of_gradients() const override { return params.num_elements(); }
  bool sits_on(size_t l) const override { return l == layer_; }
  void merge_weight(size_t, at::Tensor weight_OI, double) const override {
    weight_OI.mul_(params.view(0).unsqueeze(1));
  }
  void merge_bias(size_t, at::Tensor bias_O, double) const override { bias_O.mul_(params.view(0)); }

  TrainableParams params;

 private:
  size_t layer_;
};

/// Two of them on one layer, with LoRA attached in between: it adds before both.
class Multiplied : public testing::TestWithParam<bool> {  // on some of the rows
 protected:
  Multiplied() : first_(2), second_(2) {
    adapted_.group.attach(0, &first_, 1);
    adapted_.add(1);
    adapted_.group.attach(2, &second_, 1);
    if (GetParam())
      pass_.adapters = {{{.id = 0, .first_row = 3},
                         {.id = 1, .first_row = 1, .end_row = 8},
                         {.id = 2, .end_row = 6}}};
  }
  Adapted adapted_;
  Scaling first_, second_;
  PassContext pass_;
};

TEST_P(Multiplied, GivesTheSlopesOfTheLoss) {
  const std::vector<at::Tensor> dy = adapted_.dy;
  const at::Tensor before = dy[2].clone();
  const at::Tensor dx = adapted_.backward(pass_);
  EXPECT_TRUE(at::equal(dy[2], before)) << "the caller's gradient stays";
  Adapter& lora = *adapted_.adapters.front();
  const auto loss = [&] {
    lora.refresh();
    return adapted_.loss(pass_);
  };
  for (TrainableParams* params : {&first_.params, &second_.params, &lora.params()}) {
    const at::Tensor direction = at::randn_like(params->flat());
    expect_near((params->gradient() * direction).sum().item<double>(),
                slope(loss, params->flat(), direction));
  }
  const at::Tensor direction = at::randn_like(adapted_.x);
  expect_near((dx * direction).sum().item<double>(), slope(loss, adapted_.x, direction));
}

INSTANTIATE_TEST_SUITE_P(Rows, Multiplied, testing::Values(false, true),
                         [](const auto& info) { return info.param ? "Some" : "All"; });

TEST(Multiplying, MergesBehindWhatAdds) {
  Adapted adapted;
  Scaling scaling(2);
  adapted.group.attach(0, &scaling, 1);
  adapted.add(1);
  const at::Tensor output = adapted.group.forward(adapted.x, {})[2];
  const at::Tensor weight = adapted.group.merged_weight(2, adapted.source.acquire(2).as_tensor());
  const at::Tensor bias = adapted.group.merged_bias(2, adapted.source.acquire(3).as_tensor());
  EXPECT_TRUE(at::allclose(at::matmul(adapted.x, weight.t()) + bias, output, 1e-4, 1e-4));
  EXPECT_FALSE(at::equal(bias, adapted.source.acquire(3).as_tensor()));
}

}  // namespace
}  // namespace lora_dist
