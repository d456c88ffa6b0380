#include "launcher/run/banner.hpp"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include <sys/ioctl.h>

#include "core/base/units.hpp"
#include "data/io/printable.hpp"
#include "data/samples/sample_view.hpp"

namespace lora_dist {
namespace {

std::string batch_arithmetic(const BannerFacts& facts) {
  const StepsConfig& steps = facts.config.steps;
  const int64_t global = steps.batch_size * facts.slots_per_step;
  const char* unit = facts.config.data.packing ? "rows" : "samples";
  if (steps.global_batch_size) {
    return fmt::format("{} {} = {} micro-batches of {} over {} rank{} (global_batch_size)", global,
                       unit, facts.slots_per_step, steps.batch_size, facts.world.world_size,
                       facts.world.world_size == 1 ? "" : "s");
  }
  return fmt::format("{} {} = batch_size {} x gradient_accumulation_steps {} x {} rank{}", global,
                     unit, steps.batch_size, steps.gradient_accumulation_steps,
                     facts.world.world_size, facts.world.world_size == 1 ? "" : "s");
}

std::string what_travels(const BannerFacts& facts) {
  if (facts.plan.gather_bytes_per_step == 0) return "adapter gradients only";
  return fmt::format("{} of it the frozen base ({} to other hosts), the rest adapter gradients",
                     bytes_text(facts.plan.gather_bytes_per_step),
                     bytes_text(facts.plan.gather_bytes_inter_node_per_step));
}

constexpr size_t kLabelColumns = 13;

std::string labelled(const char* label, const std::string& value) {
  return fmt::format("  {:<10} {}\n", label, value);
}

/// "alpaca: a.jsonl, b.csv; dialogue: talk.txt", the names as they stand below `path`.
std::string files_line(const std::string& path, const SourceFiles& sources) {
  constexpr size_t kShown = 4;
  std::map<std::string, std::vector<std::string>> names;  // [format]
  for (size_t i = 0; i < sources.paths.size(); ++i) {
    const std::filesystem::path file(sources.paths[i]);
    const auto name = sources.paths[i] == path ? file.filename() : file.lexically_relative(path);
    names[sources.formats[i]].push_back(printable(name.string(), /*max_bytes=*/128));
  }
  std::vector<std::string> parts;
  for (auto& [format, files] : names) {
    const size_t more = files.size() - std::min(files.size(), kShown);
    files.resize(files.size() - more);
    parts.push_back(fmt::format("{}: {}{}", format, fmt::join(files, ", "),
                                more > 0 ? fmt::format(" and {} more", more) : ""));
  }
  return fmt::format("{}", fmt::join(parts, "; "));
}

std::string data_line(const BannerFacts& facts) {
  std::string line = fmt::format(
      "{}: {} samples, {} tokens, {} learnt, longest {}", facts.data_path, facts.num_train_samples,
      count_text(facts.data.cost), count_text(facts.data.loss_terms), facts.data.largest_cost);
  if (facts.config.data.packing)
    line += fmt::format("; packed into {} rows of up to {}", facts.num_rows,
                        facts.config.data.max_seq_length);
  if (facts.num_held_out > 0) line += fmt::format("; {} held out", facts.num_held_out);
  if (facts.data.num_cut > 0)
    line += fmt::format("; {} cut to max_seq_length {}", facts.data.num_cut,
                        facts.config.data.max_seq_length);
  if (facts.data.num_skipped > 0)
    line += fmt::format("; {} broken records skipped", facts.data.num_skipped);
  return line;
}

}  // namespace

size_t terminal_columns() {
  winsize size{};
  constexpr size_t kUsual = 80, kNarrowest = 40;
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kUsual;
  return std::max<size_t>(size.ws_col, kNarrowest);
}

std::string data_text(const DataFacts& facts) {
  std::string text = labelled("files", files_line(facts.path, facts.sources));
  const std::vector<std::string> sample =
      sample_lines(tokens_of(facts.dataset.read(0)), facts.tokenizer,
                   facts.columns - std::min(facts.columns, kLabelColumns + 1));
  for (size_t i = 0; i < sample.size(); ++i) text += labelled(i == 0 ? "sample 0" : "", sample[i]);
  return text;
}

std::string banner_text(const BannerFacts& facts) {
  const double share = 100.0 * static_cast<double>(facts.plan.trainable_parameters) /
                       static_cast<double>(facts.plan.base_parameters);
  const StepsConfig& steps = facts.config.steps;
  std::string text = fmt::format("lora-dist {}\n", LORA_DIST_VERSION);
  const auto line = [&text](const char* label, const std::string& value) {
    text += labelled(label, value);
  };
  line("base", fmt::format("{} ({}, {} layers, {} parameters)", facts.config.model.base_model,
                           facts.model.model_type(), facts.model.num_blocks(),
                           count_text(facts.plan.base_parameters)));
  line("adapter",
       fmt::format("lora_rank {}, lora_alpha {:g}: {} trainable parameters ({:.2f} %)",
                   facts.config.adapter.lora_rank, facts.config.adapter.lora_alpha.value_or(0),
                   count_text(facts.plan.trainable_parameters), share));
  line("data", data_line(facts));
  text += facts.data_details;
  if (!facts.template_name.empty()) line("template", facts.template_name);
  line("batch", batch_arithmetic(facts));
  line("steps",
       steps.max_steps > 0
           ? fmt::format("{} (max_steps), {} per epoch", facts.num_steps, facts.steps_per_epoch)
           : fmt::format("{} = {} per epoch x {:g} epochs", facts.num_steps, facts.steps_per_epoch,
                         steps.epochs));
  line("compute",
       fmt::format("{} x {}, {} thread{} each{}, {}{}", facts.world.world_size, facts.device,
                   facts.threads, facts.threads == 1 ? "" : "s",
                   facts.user_bounds_threads ? " (OMP_NUM_THREADS)" : "", facts.dtype,
                   facts.recompute_blocks ? ", activations rebuilt (gradient_checkpointing)" : ""));
  if (facts.world.world_size > 1)
    line("exchange", fmt::format("{}, {} sent per rank and step: {}", facts.backend,
                                 bytes_text(facts.plan.comm_bytes_per_step), what_travels(facts)));
  line("memory",
       fmt::format("about {} per rank: base {}, activations {}, optimizer {}, rest {}",
                   bytes_text(facts.plan.memory.total()), bytes_text(facts.plan.memory.weights),
                   bytes_text(facts.plan.memory.activations),
                   bytes_text(facts.plan.memory.optimizer),
                   bytes_text(facts.plan.memory.adapter + facts.plan.memory.other)));
  line("output", facts.config.state.output_dir);
  if (!facts.resumed_from.empty())
    line("resume", fmt::format("{}, {} steps done", facts.resumed_from, facts.steps_done));
  text.pop_back();
  return text;
}

}  // namespace lora_dist
