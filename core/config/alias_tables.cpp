// The tables alone. H = Hugging Face, PEFT, TRL; K = kohya; F = LLaMA-Factory; A = Axolotl.
#include "core/config/aliases.hpp"

namespace lora_dist::config {
namespace {

using Words = std::vector<std::pair<std::string_view, std::string_view>>;

Words inverse(std::string_view on, std::string_view off) { return {{"true", on}, {"false", off}}; }
Words only(std::string_view word) { return {{word, ""}}; }

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
       {{"true", "target_modules=all-linear"}, {"false", ""}}},                    // A
      {"peft_use_dora", "use_dora"},                                               // A
      {"peft_use_rslora", "use_rslora"},                                           // A
      {"finetuning_type", "", only("lora")},                                       // F
      {"adapter", "quantization", {{"lora", ""}, {"qlora", "quantization=nf4"}}},  // A
      {"network_module", "", only("networks.lora")},                               // K
      {"network_weights", "init_lora_from"},                                       // K
      {"adapter_name_or_path", "init_lora_from"},                                  // F
      {"lora_model_dir", "init_lora_from"},                                        // A
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
      {"chat_template", "template"},                               // A, H
      {"validation_split", "val_size"},                            // K
      {"val_set_size", "val_size"},                                // A
      {"dataset_prepared_path", "prepared_dir"},                   // A
      // steps
      {"per_device_train_batch_size", "batch_size"},  // H, F
      {"train_batch_size", "batch_size"},             // K
      {"micro_batch_size", "batch_size"},             // A
      {"num_train_epochs", "epochs"},                 // H, F
      {"max_train_epochs", "epochs"},                 // K
      {"num_epochs", "epochs"},                       // A
      {"optim", "optimizer"},                         // H, F
      {"optimizer_type", "optimizer"},                // K
      {"lr_scheduler_type", "scheduler"},             // H, F
      {"lr_scheduler", "scheduler"},                  // K, A
      {"max_train_steps", "max_steps"},               // K
      {"lr_warmup_steps", "warmup_steps"},            // K
      {"disable_gradient_checkpointing", "gradient_checkpointing",
       inverse("gradient_checkpointing=false", "gradient_checkpointing=true")},  // F
      // distribution
      {"use_cpu", "device", {{"true", "device=cpu"}, {"false", ""}}},  // H
      // state
      {"save_every_n_steps", "save_steps"},  // K
      {"save_strategy",
       "save_steps",
       {{"steps", ""}, {"no", "save_steps=0"}, {"false", "save_steps=0"}}},  // F
      {"logging_dir", "log_dir"},                                            // K, F, H
      {"report_to", "log_dir", {{"tensorboard", ""}, {"none", ""}}},         // H, F
      {"log_with", "log_dir", {{"tensorboard", ""}}},                        // K
      {"use_tensorboard", "log_dir", only("true")},                          // A
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

const std::vector<ReservedKey>& reserved_keys() {
  static const std::vector<ReservedKey> table = {
      {"dataset_dir", "write the path in train_data_dir"},
      {"modules_to_save", ""},
      {"additional_target", ""},
      {"lora_modules_to_save", ""},
      {"network_args", ""},
      {"fp8_base", ""},
      {"columns", ""},
      {"roles", ""},
      {"max_token_length", ""},
      {"optim_args", "write adam_beta1, adam_beta2, adam_epsilon or weight_decay"},
      {"optimizer_args", "write adam_beta1, adam_beta2, adam_epsilon or weight_decay"},
      {"lr_scheduler_num_cycles", ""},
      {"lr_scheduler_power", ""},
      {"neftune_noise_alpha", ""},
      {"loraplus_lr_ratio", ""},
      {"save_every_n_epochs", "write save_steps"},
      {"saves_per_epoch", "write save_steps"},
      {"save_last_n_steps", "write save_total_limit, the number of checkpoints kept"},
      {"save_last_n_epochs", "write save_total_limit, the number of checkpoints kept"},
      {"log_prefix", "write log_dir"},
      {"network_train_text_encoder_only", ""},
      {"min_bucket_reso", ""},
      {"max_bucket_reso", ""},
      {"caption_extension", ""},
      {"cache_latents_to_disk", ""},
      {"sample_sampler", ""},
      {"sample_every_n_epochs", ""},
  };
  return table;
}

const std::vector<WordAlias>& word_aliases() {
  static const std::vector<WordAlias> table = {
      {"optimizer", "adamw_torch", "adamw"},
      {"optimizer", "adamw_torch_fused", "adamw"},
      {"optimizer", "adamw_bnb_8bit", "adamw8bit"},
      {"optimizer", "paged_adamw", "adamw8bit"},
      {"optimizer", "paged_adamw_32bit", "adamw8bit"},
      {"optimizer", "paged_adamw_8bit", "adamw8bit"},
      {"optimizer", "pagedadamw8bit", "adamw8bit"},
      {"optimizer", "lion_8bit", "lion"},
      {"optimizer", "paged_lion_8bit", "lion"},
      {"task_type", "causal_lm", "text-generation"},
      {"dtype", "bfloat16", "bf16"},
      {"dtype", "float32", "fp32"},
      {"dtype", "float16", "fp16"},
      {"save_dtype", "bfloat16", "bf16"},
      {"save_dtype", "float32", "fp32"},
      {"save_dtype", "float16", "fp16"},
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
