namespace lora_dist {}
