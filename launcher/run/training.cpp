#include "launcher/run/training.hpp"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include <ATen/Parallel.h>

#include "core/base/error.hpp"
#include "core/base/log.hpp"
#include "core/base/sha256.hpp"
#include "core/ops/cuda/rows.hpp"
#include "core/planning/plan.hpp"
#include "core/ranks/all_ranks.hpp"
#include "core/tasks/task_kind.hpp"
#include "core/training/trainer.hpp"
#include "data/io/files.hpp"
#include "data/io/lease.hpp"
#include "data/weights/safetensors.hpp"
#include "dist/reducers/reducer.hpp"
#include "launcher/run/banner.hpp"
#include "launcher/run/base_model.hpp"
#include "launcher/run/best_adapter.hpp"
#include "launcher/run/device.hpp"
#include "launcher/run/life.hpp"
#include "launcher/run/long_samples.hpp"
#include "launcher/run/mathematics.hpp"
#include "launcher/run/memory.hpp"
#include "launcher/run/ownership.hpp"
#include "launcher/run/plan_request.hpp"
#include "launcher/run/require_fit.hpp"
#include "launcher/run/resume.hpp"
#include "launcher/run/run_data.hpp"
#include "launcher/run/run_folder.hpp"
#include "launcher/run/stop_signals.hpp"
#include "launcher/run/world.hpp"
#include "launcher/threads.hpp"

namespace lora_dist {
namespace {

// Seconds since this process was started, from the kernel's own clock.
double seconds_since_exec() {
  std::ifstream uptime("/proc/uptime");
  double up = 0;
  uptime >> up;
  const auto ticks = static_cast<double>(this_process().process_start);
  const double since = up - ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
  return std::round(since * 100) / 100;  // the kernel's clock ticks in hundredths
}

// Remembers when the first step of this process ended.
class FirstStepClock final : public RunObserver {
 public:
  void on_step(const StepMetrics&) override {
    if (seconds_ == 0) seconds_ = seconds_since_exec();
  }
  double seconds() const { return seconds_; }

 private:
  double seconds_ = 0;
};

// One run of one rank, put together step by step: each function needs what the one before it made.
class Run {
 public:
  Run(const Config& config, const WorldInfo& world, TrainOptions options, bool is_dry)
      : asked_(config),
        config_(config),
        world_info_(world),
        options_(std::move(options)),
        is_dry_(is_dry) {
    at::set_num_threads(choose_threads(world, config.distribution.threads_per_rank));
    device_ = choose_device(config.distribution.device, world.local_rank);
    communicator_ = join_world(config, world, device_);
  }

  // A start that fails leaves no empty folders.
  void open_or_clean_up() {
    const bool is_new = !std::filesystem::exists(config_.state.output_dir);
    if (is_new && world_info_.rank == 0)
      clean_up_when_stopped([folder = config_.state.output_dir] { remove_empty_folders(folder); });
    try {
      open();
    } catch (...) {
      claim_.reset();
      if (is_new && world_info_.rank == 0) remove_empty_folders(config_.state.output_dir);
      throw;
    }
  }

  bool is_finished() const { return is_finished_; }

  int train() {
    const std::atomic<bool>& stop_requested = stop_after_step("the newest checkpoint is intact");
    std::unique_ptr<RunFolder> folder;
    on_all_ranks(*communicator_, [&] {
      if (world_info_.rank == 0) folder = make_folder();
      return std::string();
    });
    const std::unique_ptr<RunObserver> lease_watch =
        make_lease_watch(claim_ ? claim_->lease() : nullptr);
    const std::unique_ptr<Task> task = tasks().at(data_.train->schema().task).make(*base_.decoder);
    const std::unique_ptr<GradientReducer> reducer =
        reducers().at(config_.distribution.deterministic ? "tree" : "all_reduce")(
            {.world = *communicator_,
             .num_elements = adapter_->params().num_elements(),
             .device = device_});
    TrainerParts parts{.world = *communicator_,
                       .task = *task,
                       .adapter = *adapter_,
                       .stream = *data_.stream,
                       .held_out = data_.held_out,
                       .reducer = *reducer,
                       .optimizer = *optimizer_,
                       .schedule = make_schedule(config_.steps, data_.stream->num_steps())};
    FirstStepClock first_step;
    std::unique_ptr<RunObserver> profile;
    if (config_.state.profile) {
      profile = make_profile_report(
          (std::filesystem::path(config_.state.output_dir) / "profile").string(), world_info_.rank);
    }
    if (folder) {
      parts.checkpoints = &folder->checkpoints();
      parts.observers = folder->observers();
      parts.observers.push_back(&first_step);
      parts.observers.push_back(lease_watch.get());
      parts.trainer_state = [&folder](const RunSummary& so_far) {
        return folder->trainer_log().state_to_save(so_far);
      };
    }
    if (profile) parts.observers.push_back(profile.get());
    Trainer trainer(std::move(parts),
                    {.max_grad_norm = config_.steps.max_grad_norm,
                     .seed = config_.steps.seed,
                     .save_steps = config_.state.save_steps,
                     .eval_steps = config_.state.eval_steps,
                     .hash_check_steps = config_.distribution.hash_check_steps,
                     .early_stopping_patience = config_.state.early_stopping_patience,
                     .load_best_model_at_end = config_.state.load_best_model_at_end,
                     .stop_requested = &stop_requested});
    if (!start_.resumed_from.empty()) trainer.resume_at(run_so_far());
    const TrainingResult result = run_or_explain(trainer);
    if (folder) {
      folder->finish(result, adapter_->params().named_tensors(), first_step.seconds());
      say_goodbye(result);
    }
    communicator_->barrier({.name = "end of run"});
    return result.stopped_on_request ? kExitStopped : 0;
  }

 private:
  void open() {
    claim_folder();
    choose_sharding();
    base_dir_ = base_dir_of_rank(config_, *communicator_);
    needs_tokenizer_ = data_needs_tokenizer(config_.data, base_dir_, *communicator_);
    on_all_ranks(*communicator_, [&] {
      open_base();
      fingerprints_ = {{"base", base_fingerprint()}, {"mathematics", mathematics()}};
      if (base_.tokenizer) fingerprints_["tokenizer"] = base_.tokenizer->sha256();
      if (claim_) {
        claim_->decide(fingerprints_);  // the data may take long
        check_before_data();
      }
      return std::string();
    });
    data_ = prepare_run_data(config_, base_.decoder->spec().vocab_size, base_.tokenizer.get(),
                             base_.prompt_template.get(), *communicator_,
                             [&](const std::string& data) { decide(data); });
    decide(data_.train->fingerprint());
    compare_fingerprints(fingerprints_, *communicator_);
    is_finished_ = on_all_ranks(*communicator_, [&] {
                     return std::string(claim_ && claim_->plan().is_finished ? "finished" : "");
                   }).front() == "finished";
    if (is_finished_) return say_finished();
    // Of one rank all is on the terminal; its log begins when the start has succeeded.
    if (world_info_.world_size > 1) open_rank_log();
    warn_of_long_samples(*data_.train, base_.decoder->spec());
    fit_ = require_fit(fit_request(), device_, *communicator_);
    on_all_ranks(*communicator_, [&] {
      place_base();
      record_blocks();
      return std::string();
    });
    adapter_ = fresh_adapter(base_.decoder->options().device);
    optimizer_ = optimizers().at(config_.steps.optimizer)({.params = adapter_->params().flat(),
                                                           .config = config_.steps,
                                                           .groups = adapter_->params().groups()});
    start_ = start_run(
        {.config = config_, .claim = claim_.get(), .num_steps = data_.stream->num_steps()},
        *adapter_, *optimizer_, *communicator_);
    adapter_->attach(/*weight=*/1);
    if (world_info_.world_size == 1) open_rank_log();
    log_info(banner());
  }

  // A base with NaN in it is found when a loss is not finite: reading all of it at every start
  // would cost seconds.
  TrainingResult run_or_explain(Trainer& trainer) const {
    try {
      return trainer.run();
    } catch (const NumericsError&) {
      require_finite(*base_.files);
      throw;
    }
  }

  // The folder is this run's from here on, or it stays as it is. A run that is continued with
  // another number of ranks keeps its global batch.
  void claim_folder() {
    const std::vector<std::string> told = on_all_ranks(*communicator_, [&] {
      if (world_info_.rank != 0) return std::string();
      make_folders(config_.state.output_dir);
      rehearse_writing(config_.state.output_dir);
      claim_ = std::make_unique<RunClaim>(asked_, options_.allowed_changes);
      if (is_dry_) {
        claim_->look();
      } else {
        claim_->open(options_.job);
      }
      const std::optional<int64_t> kept = claim_->global_batch_size_of_run();
      return kept ? fmt::format("{}", *kept) : std::string();
    });
    if (told.front().empty()) return;
    const int64_t kept = std::stoll(told.front());
    const int64_t usual = asked_.steps.batch_size * slots_per_step(asked_, world_info_.world_size);
    if (kept == usual) return;
    config_.steps.global_batch_size = kept;
    config_.steps.gradient_accumulation_steps = 1;
    require_work_for_ranks(config_, world_info_.world_size);
    log_info(fmt::format("{}: its run goes on with the {} samples per step that it began with",
                         folder_label(config_.state.output_dir), kept));
  }

  // What would end the run after its data, and is known without them.
  void check_before_data() {
    PlanRequest request =
        plan_request(config_, base_.decoder->outline(), *base_.files, targets_,
                     /*tokens=*/config_.data.max_seq_length, device_, program_bytes_);
    request.ranks = HostLayout::of(communicator_->hosts());
    // A checkpoint holds the adapter and two moments, all fp32.
    require_free_space(
        config_.state.output_dir,
        3 * sizeof(float) * static_cast<uint64_t>(plan_run(request).trainable_parameters));
    if (!claim_->former_record().is_null()) return;  // a run that goes on has its own adapter
    const std::optional<LoadedAdapter> initial = read_initial_adapter(config_);
    if (!initial) return;
    const auto trial = fresh_adapter(at::kCPU);
    trial->params().assign(initial->tensors, initial->path);
  }

  // Of the config as it was written: how the global batch came about is part of it.
  nlohmann::ordered_json mathematics() const {
    return mathematics_of(asked_, slots_per_step(config_, world_info_.world_size));
  }

  void decide(const std::string& data_fingerprint) {
    fingerprints_["data"] = data_fingerprint;
    if (claim_) claim_->decide(fingerprints_);
  }

  void say_finished() const {
    if (!claim_) return;
    const nlohmann::ordered_json& record = claim_->former_record();
    const auto number = [&](const char* key) {
      return record.contains(key) && record[key].is_number() ? record[key].get<double>() : 0.0;
    };
    const std::string& output = config_.state.output_dir;
    log_info(
        fmt::format("{}: this run is finished, nothing is left to do and nothing was changed; "
                    "to train again set overwrite_output_dir: true or another output_dir",
                    folder_label(output)));
    print_last_line(output, number("first_loss"), number("last_loss"), number("steps"),
                    number("tokens_per_second"));
  }

  static void print_last_line(const std::string& output, double first_loss, double last_loss,
                              double steps, double tokens_per_second) {
    std::printf("adapter %s  loss %.4f -> %.4f  steps %.0f  %.0f tokens/s\n", output.c_str(),
                first_loss, last_loss, steps, tokens_per_second);
    std::fflush(stdout);
  }

  void open_rank_log() const {
    if (is_dry_) return;
    make_folders(config_.state.log_dir);
    open_log({.rank = world_info_.rank,
              .world_size = world_info_.world_size,
              .file = (std::filesystem::path(config_.state.log_dir) /
                       fmt::format("rank-{}.log", world_info_.rank))
                          .string()});
  }

  void choose_sharding() {
    const HostLayout ranks = HostLayout::of(communicator_->hosts());
    sharding_ = resolve_sharding(config_.distribution.sharding, !device_.is_cpu(), ranks);
    if (sharding_ == Sharding::hybrid)
      host_ = communicator_->split(ranks.host_of[communicator_->rank()], {.name = "host"});
  }

  // Mapped only: what the base says is checked before the data is read, and nothing is allocated
  // before it is known to fit.
  void open_base() {
    OpenRequest request = open_request();
    request.device = "cpu";
    request.sharding = Sharding::shared;
    program_bytes_ = program_bytes_of(base_dir_, config_.model.dtype, device_);
    base_ = open_model(request);
    targets_ = match_targets(linear_names(*base_.decoder), config_.adapter.target_modules,
                             config_.adapter.exclude_modules, base_.decoder->spec().model_type);
    require_matching_patterns(config_.adapter, targets_);
  }

  void place_base() {
    if (sharding_ == Sharding::shared && device_.is_cpu()) {
      base_.decoder->set_recompute_blocks(fit_.setting.recompute_blocks);
    } else {
      place_weights(base_, open_request());
    }
  }

  void record_blocks() {
    if (!config_.distribution.cuda_graphs) return;
    const ModelOptions& options = base_.decoder->options();
    const std::string obstacle =
        obstacle_to_graphs({.device = options.device,
                            .capability = ops::cuda::compute_capability(options.device),
                            .sharding = sharding_,
                            .multiplied = ops::product_dtype(options.compute, options.device),
                            .weights = *base_.files});
    if (obstacle.empty()) {
      base_.decoder->record_blocks(ops::cuda::make_graph_recorder(options.device));
    } else {
      log_warning(
          fmt::format("cuda_graphs: true, but {}; kernels are launched one by one", obstacle));
    }
  }

  OpenRequest open_request() const {
    return {.base = base_dir_,
            .dtype = config_.model.dtype,
            .device = device_.is_cpu() ? "cpu" : "cuda",
            .local_rank = world_info_.local_rank,
            .sharding = sharding_,
            .gather_group = host_ ? host_.get() : communicator_.get(),
            .template_name = config_.data.chat_template,
            .recompute_blocks = fit_.setting.recompute_blocks,
            .deterministic = config_.distribution.deterministic,
            .needs_tokenizer = needs_tokenizer_};
  }

  int64_t longest_row() const {
    const std::vector<int32_t>& lengths = data_.train->measures().costs;
    if (config_.data.packing)
      return std::min(config_.data.max_seq_length, data_.train->stats().cost);
    return lengths.empty() ? 0 : *std::max_element(lengths.begin(), lengths.end());
  }

  FitRequest fit_request() const {
    FitRequest request{.plan = plan_request(config_, base_.decoder->outline(), *base_.files,
                                            targets_, longest_row(), device_, program_bytes_),
                       .steps = config_.steps,
                       .shardings = {sharding_},
                       .num_samples = data_.stream->num_rows()};
    request.plan.ranks = HostLayout::of(communicator_->hosts());
    request.plan.slots_per_step = data_.slots_per_step;
    if (device_.is_cpu())  // on a GPU this build has no other one
      request.more_shardings =
          shardings_that_hold_less(sharding_, /*on_gpu=*/false, request.plan.ranks);
    return request;
  }

  std::unique_ptr<Adapter> fresh_adapter(at::Device device) const {
    return make_adapter({.groups = base_.decoder->linear_groups(),
                         .config = config_.adapter,
                         .targets = targets_,
                         .compute = base_.decoder->options().compute,
                         .device = device});
  }

  // Names, dtypes, shapes, and some bytes from the middle of every weight: which model this is, and
  // which training of it. Hashing gigabytes of weights at every start would cost its seconds.
  std::string base_fingerprint() const {
    constexpr size_t kSampleBytes = 64;
    Sha256 hash;
    hash.update(base_.config.dump());
    const std::vector<WeightInfo>& weights = base_.files->weights();
    for (size_t i = 0; i < weights.size(); ++i) {
      hash.update(fmt::format("{} {} {}\n", weights[i].name, at::toString(weights[i].dtype),
                              fmt::join(weights[i].shape, ",")));
      const at::Tensor weight = base_.files->acquire(i);
      const size_t size = std::min(kSampleBytes, weight.nbytes());
      hash.update(static_cast<const char*>(weight.const_data_ptr()) + (weight.nbytes() - size) / 2,
                  size);
      base_.files->release(i);
    }
    return hash.hex();
  }

  std::unique_ptr<RunFolder> make_folder() {
    const std::string template_name = base_.prompt_template ? base_.prompt_template->name() : "";
    const nlohmann::ordered_json life = describe_life(config_, world_info_, communicator_->hosts());
    nlohmann::ordered_json facts = {{"host", world_info_.host}};
    facts.update(life);
    facts["fingerprints"] = fingerprints_;
    const nlohmann::ordered_json record = claim_->take(facts);
    auto folder = std::make_unique<RunFolder>(
        config_, RunFacts{.data_path = data_.path,
                          .data = data_.train->stats(),
                          .num_samples = data_.stream->num_samples(),
                          .num_held_out = num_held_out(),
                          .base_dir = base_dir_,
                          .template_name = template_name,
                          .layout = base_.prompt_template
                                        ? describe_layout(*base_.prompt_template, *base_.tokenizer)
                                        : PromptLayout(),
                          .on_cpu = device_.is_cpu(),
                          .life = life,
                          .description = describe_adapter(config_, template_name),
                          .fingerprints = fingerprints_,
                          .run = claim_->run(),
                          .record = record,
                          .require_lease = [lease = claim_->lease()] { lease->require_held(); },
                          .trainable_parameters = adapter_->params().num_elements(),
                          .num_steps = data_.stream->num_steps()});
    if (!start_.resumed_from.empty()) folder->trainer_log().restore(start_.trainer);
    return folder;
  }

  std::string data_details() const {
    if (world_info_.rank != 0) return {};
    return data_text({.path = data_.path,
                      .sources = data_.sources,
                      .dataset = *data_.train,
                      .tokenizer = base_.tokenizer.get(),
                      .columns = terminal_columns()});
  }

  int64_t num_held_out() const {
    int64_t count = 0;
    for (const HeldOutSet& set : data_.held_out) count += set.stream->num_samples();
    return count;
  }

  std::string deciding_set() const {
    return data_.held_out.empty() ? std::string() : data_.held_out.front().name;
  }

  RunSoFar run_so_far() const {
    RunSoFar so_far = lora_dist::run_so_far(start_.trainer, deciding_set());
    if (world_info_.rank == 0 && config_.state.load_best_model_at_end)
      so_far.best_adapter = best_adapter_so_far(start_.trainer, start_.resumed_from);
    return so_far;
  }

  std::string banner() const {
    return banner_text({.config = config_,
                        .world = world_info_,
                        .model = base_.decoder->outline(),
                        .plan = fit_.plan,
                        .data = data_.train->stats(),
                        .data_details = data_details(),
                        .data_path = data_.path,
                        .template_name = base_.prompt_template ? base_.prompt_template->name() : "",
                        .dtype = base_.decoder->options().compute == at::kFloat ? "fp32" : "bf16",
                        .device = base_.decoder->options().device.str(),
                        .backend = std::string(communicator_->backend()),
                        .threads = at::get_num_threads(),
                        .user_bounds_threads =
                            user_bounds_threads(world_info_, config_.distribution.threads_per_rank),
                        .slots_per_step = data_.slots_per_step,
                        .steps_per_epoch = data_.stream->steps_per_epoch(),
                        .num_steps = data_.stream->num_steps(),
                        .num_train_samples = data_.stream->num_samples(),
                        .num_rows = data_.stream->num_rows(),
                        .num_held_out = num_held_out(),
                        .recompute_blocks = fit_.setting.recompute_blocks,
                        .resumed_from = start_.resumed_from,
                        .steps_done = start_.steps_done});
  }

  // The last line on standard output of a good run.
  void say_goodbye(const TrainingResult& result) const {
    const RunSummary& summary = result.summary;
    const std::string& output = config_.state.output_dir;
    if (result.stopped_on_request) {
      log_info(fmt::format("stopped on request at step {}; the same command goes on from there",
                           summary.steps));
    } else {
      log_info(fmt::format("try it:  lora-dist generate --base {} --adapter {} --prompt \"...\"",
                           config_.model.base_model, output));
    }
    end_status();
    print_last_line(output, summary.first_loss, summary.last_loss,
                    static_cast<double>(summary.steps),
                    static_cast<double>(summary.tokens) / std::max(summary.runtime_s, 1e-9));
  }

  const Config& asked_;
  Config config_;  // asked_, with the global batch of the run that is continued
  WorldInfo world_info_;
  TrainOptions options_;
  bool is_dry_;
  std::unique_ptr<RunClaim> claim_;  // rank 0 only
  bool is_finished_ = false;
  std::unique_ptr<Communicator> communicator_;
  at::Device device_ = at::kCPU;
  Sharding sharding_ = Sharding::shared;
  std::unique_ptr<Communicator> host_;  // the ranks of this host; null unless sharding is hybrid
  std::string base_dir_;
  bool needs_tokenizer_ = true;
  int64_t program_bytes_ = 0;
  OpenedModel base_;
  std::vector<std::string> targets_;
  RunData data_;
  Fit fit_;  // what the run takes, and how it fits into memory
  std::unique_ptr<Adapter> adapter_;
  std::unique_ptr<Optimizer> optimizer_;
  nlohmann::ordered_json fingerprints_;
  RunStart start_;
};

}  // namespace

int train(const Config& config, const WorldInfo& world, const TrainOptions& options) {
  keep_freed_memory();
  Run run(config, world, options, /*is_dry=*/false);
  run.open_or_clean_up();
  return run.is_finished() ? 0 : run.train();
}

int dry_run(const Config& config, const WorldInfo& world) {
  Run run(config, world, {}, /*is_dry=*/true);
  run.open_or_clean_up();
  return 0;
}

}  // namespace lora_dist
