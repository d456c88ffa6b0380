// The tables alone. H = Hugging Face, PEFT, TRL; K = kohya; F = LLaMA-Factory; A = Axolotl.
#include "core/config/aliases.hpp"

namespace lora_dist::config {
namespace {

using Words = std::vector<std::pair<std::string_view, std::string_view>>;

Words inverse(std::string_view on, std::string_view off) { return {{"true", on}, {"false", off}}; }

constexpr std::string_view kUnpaged = "its state stays in the memory of the device, unpaged";

}  // namespace

const std::vector<KeyAlias>& key_aliases() {
  static const std::vector<KeyAlias> table = {
      // model
      {"base_model_name_or_path", "base_model"},        // H
      {"pretrained_model_name_or_path", "base_model"},  // K
      {"model_name_or_path", "base_model"},             // F
      {"stage",
       "task_type",
       {{"sft", "task_type=text-generation"}, {"pt", "task_type=text-generation"}}},  // F
      {"mixed_precision",
       "dtype",
       {{"no", "dtype=fp32"},
        {"false", "dtype=fp32"},
        {"fp16", "fp16=true"},
        {"bf16", "dtype=bf16"}}},  // K, H
      {"bf16",
       "dtype",
       {{"true", "dtype=bf16"}, {"auto", "dtype=auto"}, {"false", ""}}},                 // H, F, A
      {"bfloat16", "dtype", {{"true", "dtype=bf16"}, {"false", ""}}},                    // A
      {"float16", "fp16"},                                                               // A
      {"torch_dtype", "dtype"},                                                          // H
      {"full_bf16", "dtype", {{"true", "dtype=bf16"}, {"false", ""}}},                   // K
      {"full_fp16", "fp16"},                                                             // K
      {"load_in_4bit", "quantization", {{"true", "quantization=nf4"}, {"false", ""}}},   // H, A
      {"load_in_8bit", "quantization", {{"true", "quantization=int8"}, {"false", ""}}},  // H, A
      {"quantization_bit",
       "quantization",
       {{"4", "quantization=nf4"}, {"8", "quantization=int8"}}},             // F
      {"quantization_type", "quantization", {{"nf4", "quantization=nf4"}}},  // F
      // adapter
      {"r", "lora_rank"},                         // H
      {"lora_r", "lora_rank"},                    // A
      {"network_dim", "lora_rank"},               // K
      {"network_alpha", "lora_alpha"},            // K
      {"network_dropout", "lora_dropout"},        // K
      {"lora_target", "target_modules"},          // F
      {"lora_target_modules", "target_modules"},  // A
      {"lora_target_linear",
       "target_modules",
       {{"true", "target_modules=all-linear"}, {"false", ""}}},            // A
      {"peft_use_dora", "use_dora"},                                       // A
      {"peft_use_rslora", "use_rslora"},                                   // A
      {"finetuning_type", "adapter"},                                      // F
      {"network_module", "adapter", {{"networks.lora", "adapter=lora"}}},  // K
      {"network_weights", "init_lora_from"},                               // K
      {"adapter_name_or_path", "init_lora_from"},                          // F
      {"lora_model_dir", "init_lora_from"},                                // A
      // data
      {"dataset", "train_data_dir"},  // F
      {"in_json", "metadata_path"},   // K
      {"sequence_length", "max_seq_length"},
      {"cutoff_len", "max_seq_length"},        // F
      {"sequence_len", "max_seq_length"},      // A
      {"max_length", "max_seq_length"},        // H
      {"neat_packing", "packing"},             // F
      {"sample_packing", "packing"},           // A
      {"train_on_inputs", "train_on_prompt"},  // A
      {"completion_only_loss", "train_on_prompt",
       inverse("train_on_prompt=false", "train_on_prompt=true")},  // H
      {"assistant_only_loss",
       "train_on_prompt",
       {{"true", "train_on_prompt=false"}, {"false", ""}}},  // H
      {"chat_template", "template"},                         // A, H
      {"eval_dataset", "val_data_path"},                     // F
      {"validation_split", "val_size"},                      // K
      {"val_set_size", "val_size"},                          // A
      {"dataset_prepared_path", "prepared_dir"},             // A
      // steps
      {"per_device_train_batch_size", "batch_size"},                                     // H, F
      {"train_batch_size", "batch_size"},                                                // K
      {"micro_batch_size", "batch_size"},                                                // A
      {"num_train_epochs", "epochs"},                                                    // H, F
      {"max_train_epochs", "epochs"},                                                    // K
      {"num_epochs", "epochs"},                                                          // A
      {"optim", "optimizer"},                                                            // H, F
      {"optimizer_type", "optimizer"},                                                   // K
      {"use_8bit_adam", "optimizer", {{"true", "optimizer=adamw8bit"}, {"false", ""}}},  // K
      {"use_lion_optimizer", "optimizer", {{"true", "optimizer=lion"}, {"false", ""}}},  // K
      {"lr_scheduler_type", "scheduler"},                                                // H, F
      {"lr_scheduler", "scheduler"},                                                     // K, A
      {"max_train_steps", "max_steps"},                                                  // K
      {"lr_warmup_steps", "warmup_steps"},                                               // K
      {"disable_gradient_checkpointing", "gradient_checkpointing",
       inverse("gradient_checkpointing=false", "gradient_checkpointing=true")},  // F
      // distribution
      {"use_cpu", "device", {{"true", "device=cpu"}, {"false", ""}}},  // H
      {"no_cuda", "device", {{"true", "device=cpu"}, {"false", ""}}},  // H
      {"ddp_backend", "backend"},                                      // H
      // state
      {"save_every_n_steps", "save_steps"},  // K
      {"save_precision", "save_dtype"},      // K
      {"save_strategy",
       "save_steps",
       {{"steps", ""}, {"no", "save_steps=0"}, {"false", "save_steps=0"}}},  // F
      {"logging_dir", "log_dir"},                                            // K, F, H
      {"resume", "resume_from_checkpoint"},                                  // K
      {"auto_resume_from_checkpoints",
       "resume_from_checkpoint",
       {{"true", "resume_from_checkpoint=auto"}, {"false", ""}}},  // A
      // image
      {"network_train_unet_only", "train_text_encoder",
       inverse("train_text_encoder=false", "train_text_encoder=true")},  // K
      {"validation_prompt", "sample_prompts"},                           // diffusers
      {"snr_gamma", "min_snr_gamma"},                                    // diffusers
  };
  return table;
}

const std::vector<WordAlias>& word_aliases() {
  static const std::vector<WordAlias> table = {
      {"optimizer", "adamw_torch", "adamw"},
      {"optimizer", "adamw_torch_fused", "adamw"},
      {"optimizer", "adamw_torch_xla", "adamw"},
      {"optimizer", "adamw_torch_npu_fused", "adamw"},
      {"optimizer", "adamw_apex_fused", "adamw"},
      {"optimizer", "adamw_hf", "adamw"},
      {"optimizer", "adamw_32bit", "adamw"},
      {"optimizer", "paged_adamw", "adamw", kUnpaged},
      {"optimizer", "paged_adamw_32bit", "adamw", kUnpaged},
      {"optimizer", "pagedadamw", "adamw", kUnpaged},
      {"optimizer", "pagedadamw32bit", "adamw", kUnpaged},
      {"optimizer", "adamw_8bit", "adamw8bit"},
      {"optimizer", "adamw_bnb_8bit", "adamw8bit"},
      {"optimizer", "adamw_torch_8bit", "adamw8bit",
       "its state is quantised as bitsandbytes does, not as torchao"},
      {"optimizer", "ao_adamw_8bit", "adamw8bit",
       "its state is quantised as bitsandbytes does, not as torchao"},
      {"optimizer", "paged_adamw_8bit", "adamw8bit", kUnpaged},
      {"optimizer", "pagedadamw8bit", "adamw8bit", kUnpaged},
      {"optimizer", "lion_8bit", "lion"},
      {"optimizer", "lion_32bit", "lion"},
      {"optimizer", "lion8bit", "lion"},
      {"optimizer", "paged_lion_8bit", "lion"},
      {"optimizer", "paged_lion_32bit", "lion"},
      {"optimizer", "pagedlion8bit", "lion"},
      {"optimizer", "sgdnesterov", "sgd"},
      {"optimizer", "sgdnesterov8bit", "sgd"},
      {"optimizer", "adam8bit", "adam"},
      {"optimizer", "rmsprop_bnb", "rmsprop"},
      {"optimizer", "rmsprop_bnb_8bit", "rmsprop"},
      {"optimizer", "rmsprop_bnb_32bit", "rmsprop"},
      {"optimizer", "ademamix_8bit", "ademamix"},
      {"optimizer", "paged_ademamix_32bit", "ademamix"},
      {"optimizer", "paged_ademamix_8bit", "ademamix"},
      {"optimizer", "galore_adamw", "galore"},
      {"optimizer", "galore_adamw_8bit", "galore"},
      {"optimizer", "galore_adafactor", "galore"},
      {"optimizer", "galore_adamw_layerwise", "galore"},
      {"optimizer", "galore_adamw_8bit_layerwise", "galore"},
      {"optimizer", "galore_adafactor_layerwise", "galore"},
      {"optimizer", "apollo_adamw", "apollo"},
      {"optimizer", "apollo_adamw_layerwise", "apollo"},
      {"optimizer", "adalomo", "lomo"},
      {"optimizer", "schedule_free_adamw", "schedule_free"},
      {"optimizer", "schedule_free_sgd", "schedule_free"},
      {"optimizer", "schedule_free_radam", "schedule_free"},
      {"optimizer", "adamwschedulefree", "schedule_free"},
      {"optimizer", "radamschedulefree", "schedule_free"},
      {"optimizer", "sgdschedulefree", "schedule_free"},
      {"optimizer", "came_pytorch", "came"},
      {"optimizer", "prodigyplus", "prodigy"},
      {"optimizer", "prodigyplus.prodigyplusschedulefree", "prodigy"},
      {"optimizer", "dadaptation", "dadapt"},
      {"optimizer", "dadaptadam", "dadapt"},
      {"optimizer", "dadaptadampreprint", "dadapt"},
      {"optimizer", "dadaptadagrad", "dadapt"},
      {"optimizer", "dadaptadan", "dadapt"},
      {"optimizer", "dadaptadanip", "dadapt"},
      {"optimizer", "dadaptlion", "dadapt"},
      {"optimizer", "dadaptsgd", "dadapt"},
      {"task_type", "causal_lm", "text-generation"},
      {"dtype", "bfloat16", "bf16"},
      {"dtype", "float32", "fp32"},
      {"dtype", "float16", "fp16"},
      {"dtype", "half", "fp16"},
      {"dtype", "float", "fp32"},
      {"save_dtype", "bfloat16", "bf16"},
      {"save_dtype", "float32", "fp32"},
      {"save_dtype", "float16", "fp16"},
      {"save_dtype", "float", "fp32"},
      {"template", "tokenizer_default", "auto"},
      {"data_format", "dialog", "dialogue"},
      {"data_format", "completion", "text"},
      {"data_format", "chat_template", "messages"},
      {"data_format", "sharegpt", "messages"},
      {"pii", "false", "off"},
      {"pii", "no", "off"},
      {"resume_from_checkpoint", "yes", "true"},
      {"resume_from_checkpoint", "on", "true"},
      {"resume_from_checkpoint", "true", "true"},
      {"resume_from_checkpoint", "no", "false"},
      {"resume_from_checkpoint", "off", "false"},
      {"resume_from_checkpoint", "false", "false"},
      {"resume_from_checkpoint", "auto", "auto"},
      {"resume_from_checkpoint", "latest", "auto"},
      {"resume_from_checkpoint", "enable", "auto"},
  };
  return table;
}

}  // namespace lora_dist::config
