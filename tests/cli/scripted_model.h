// A model that says what a test wants: a Llama whose blocks do nothing, with one-hot embeddings and
// a head that maps each token to the one that follows it in the script.
#pragma once

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/core/io/files.h"

namespace plumb::testing {

class ScriptedModel {
 public:
  // One byte a token, and the pieces of the scripts. A script begins behind its first piece.
  explicit ScriptedModel(const std::vector<std::vector<std::string>>& scripts) {
    for (int byte = 0; byte < 256; ++byte) add(std::string(1, static_cast<char>(byte)));
    for (const auto& script : scripts)
      for (size_t i = 0; i < script.size(); ++i) {
        add(script[i]);
        if (i > 0) next_[ids_.at(script[i - 1])] = ids_.at(script[i]);
      }
    if (ids_.size() % 2 != 0) add("<|unused|>");
  }

  void write(const std::filesystem::path& dir, const std::string& chat_template) const {
    std::filesystem::create_directories(dir);
    write_tokenizer(dir);
    write_weights(dir);
    std::ofstream(dir / "chat_template.jinja") << chat_template;
  }

 private:
  void add(const std::string& piece) {
    if (ids_.emplace(piece, ids_.size()).second) pieces_.push_back(piece);
  }

  void write_tokenizer(const std::filesystem::path& dir) const {
    nlohmann::json vocab = nlohmann::json::object(), special = nlohmann::json::array();
    for (size_t id = 0; id < pieces_.size(); ++id) {
      std::string key;  // U+00XX for byte XX
      for (const char c : pieces_[id]) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x80)
          key += c;
        else
          key += {static_cast<char>(0xC0 | (byte >> 6)), static_cast<char>(0x80 | (byte & 0x3F))};
      }
      vocab[key] = id;
      if (pieces_[id].starts_with("<|")) special.push_back(pieces_[id]);
    }
    std::ofstream(dir / "tokenizer.json") << nlohmann::json{{"algorithm", "length-max"},
                                                            {"max_token_len", 400},
                                                            {"vocab", vocab},
                                                            {"special_tokens", special}};
  }

  void write_weights(const std::filesystem::path& dir) const {
    const size_t v = pieces_.size();
    std::map<std::string, std::vector<float>> values;
    std::map<std::string, std::string> shapes;
    const auto tensor = [&](const std::string& name, size_t rows,
                            size_t cols) -> std::vector<float>& {
      shapes[name] = cols == 0 ? "[" + std::to_string(rows) + "]"
                               : "[" + std::to_string(rows) + "," + std::to_string(cols) + "]";
      return values[name] =
                 std::vector<float>(rows * std::max<size_t>(cols, 1), cols == 0 ? 1.0F : 0.0F);
    };
    auto& embedding = tensor("model.embed_tokens.weight", v, v);
    for (size_t id = 0; id < v; ++id) embedding[id * v + id] = 1;
    auto& head = tensor("lm_head.weight", v, v);
    for (const auto& [from, to] : next_) head[to * v + from] = 10;
    for (int layer = 0; layer < kLayers; ++layer) {
      const std::string name = "model.layers." + std::to_string(layer) + ".";
      tensor(name + "input_layernorm.weight", v, 0);
      tensor(name + "post_attention_layernorm.weight", v, 0);
      for (const char* part : {"q", "k", "v"})
        tensor(name + "self_attn." + part + "_proj.weight", 2, v);
      tensor(name + "self_attn.o_proj.weight", v, 2);
      for (const char* part : {"gate", "up"}) tensor(name + "mlp." + part + "_proj.weight", 2, v);
      tensor(name + "mlp.down_proj.weight", v, 2);
    }
    tensor("model.norm.weight", v, 0);
    std::string header, data;
    for (const auto& [name, numbers] : values) {
      const std::string begin = std::to_string(data.size());
      data += raw(numbers);
      header += (header.empty() ? "{" : ",") +
                entry(name, "F32", shapes[name], begin, std::to_string(data.size()));
    }
    std::ofstream(dir / "model.safetensors", std::ios::binary)
        << safetensors_bytes(header + "}", data);
    std::ofstream(dir / "config.json") << nlohmann::json{{"model_type", "llama"},
                                                         {"hidden_size", v},
                                                         {"vocab_size", v},
                                                         {"num_hidden_layers", kLayers},
                                                         {"num_attention_heads", 1},
                                                         {"num_key_value_heads", 1},
                                                         {"head_dim", 2},
                                                         {"intermediate_size", 2},
                                                         {"rms_norm_eps", 1e-6},
                                                         {"rope_theta", 10000.0},
                                                         {"max_position_embeddings", 4096},
                                                         {"tie_word_embeddings", false}};
  }

  static constexpr int kLayers = 2;
  std::map<std::string, size_t> ids_;
  std::vector<std::string> pieces_;
  std::map<size_t, size_t> next_;
};

}  // namespace plumb::testing
