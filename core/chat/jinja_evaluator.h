// The interpreter's state. Statements are in jinja_eval.cpp, expressions in jinja_eval_expr.cpp.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/chat/jinja_ast.h"
#include "core/chat/jinja_eval.h"

namespace plumb::jinja {

// for, macro, call, filter, with, set and generation blocks open one; if does not.
struct Scope {
  std::shared_ptr<Scope> parent;
  std::unordered_map<std::string, Value> variables;
};
using ScopePtr = std::shared_ptr<Scope>;

inline ScopePtr open_scope(const ScopePtr& parent) {
  auto scope = std::make_shared<Scope>();
  scope->parent = parent;
  return scope;
}

struct MacroObject : Object {
  const Signature* signature = nullptr;
  const Body* body = nullptr;
  ScopePtr scope;  // where it was defined
};

// What stopped a body before its end.
enum class Flow : uint8_t { kNext, kBreak, kContinue };

class Evaluator final : public Runtime {
 public:
  explicit Evaluator(std::optional<std::tm> now) : Runtime(now) {}
  ~Evaluator() override;

  std::string run(const Body& body, const Variables& variables);
  Value call_macro(const Value& callee, const Arguments& arguments) override;

 private:
  friend struct ConditionIterator;
  class Depth;

  // Statements.
  Flow run_body(const Body& body, const ScopePtr& scope, TextSink& out);
  Flow run_statement(const Statement& statement, const ScopePtr& scope, TextSink& out);
  Flow run_if(const Statement& statement, const ScopePtr& scope, TextSink& out);
  Flow run_for(const Statement& statement, const ScopePtr& scope, TextSink& out);
  Flow run_set_block(const Statement& statement, const ScopePtr& scope);
  Flow run_filter_block(const Statement& statement, const ScopePtr& scope, TextSink& out);
  Flow run_with(const Statement& statement, const ScopePtr& scope, TextSink& out);
  void run_call_block(const Statement& statement, const ScopePtr& scope, TextSink& out);
  void assign(const Expr& target, const Value& value, const ScopePtr& scope);
  void assign_attribute(const Expr& target, const Value& value, const ScopePtr& scope);
  Value make_macro(const Statement& statement, const ScopePtr& scope);
  void bind_macro(const MacroObject& macro, const Arguments& arguments, const ScopePtr& scope);

  // Expressions: one function a kind, so that recursion costs small stack frames.
  Value eval(const Expr& expr, const ScopePtr& scope);
  Value eval_kind(const Expr& expr, const ScopePtr& scope);
  Value eval_name(const Expr& expr, const ScopePtr& scope);
  Value eval_sequence(const Expr& expr, const ScopePtr& scope);
  Value eval_dict(const Expr& expr, const ScopePtr& scope);
  Value eval_unary(const Expr& expr, const ScopePtr& scope);
  Value eval_binary(const Expr& expr, const ScopePtr& scope);
  Value eval_concat(const Expr& expr, const ScopePtr& scope);
  Value eval_compare(const Expr& expr, const ScopePtr& scope);
  Value eval_logic(const Expr& expr, const ScopePtr& scope);
  Value eval_conditional(const Expr& expr, const ScopePtr& scope);
  Value eval_access(const Expr& expr, const ScopePtr& scope);
  Value eval_slice(const Expr& expr, const ScopePtr& scope);
  Value eval_call(const Expr& expr, const ScopePtr& scope, const Value* caller = nullptr);
  Value eval_filter(const Expr& expr, const ScopePtr& scope, const Value* input = nullptr);
  Value eval_test(const Expr& expr, const ScopePtr& scope);
  Arguments eval_arguments(const CallArguments& given, const ScopePtr& scope);
  void spread(const CallArguments& given, const ScopePtr& scope, Arguments* arguments);

  int line_ = 0;  // of what is being run
  int depth_ = 0, macro_depth_ = 0;
  std::vector<std::shared_ptr<MacroObject>> macros_;
};

class Evaluator::Depth {
 public:
  explicit Depth(int& depth, int limit, const char* what) : depth_(depth) {
    if (depth_ >= limit) fail("{} deeper than {} levels", what, limit);
    ++depth_;
  }
  ~Depth() { --depth_; }
  Depth(const Depth&) = delete;
  Depth& operator=(const Depth&) = delete;

 private:
  int& depth_;
};

}  // namespace plumb::jinja
