// The names of the switches of SpikeWhaleLM whose published value is only assumed.
#pragma once

#include "core/model/spikewhale_config.h"
#include "core/model/switch_names.h"

namespace plumb {

inline constexpr SwitchNames<ReadMap, 3> kReadMaps = {
    {{"softmax", ReadMap::kSoftmax}, {"sigmoid", ReadMap::kSigmoid}, {"raw", ReadMap::kRaw}}};
inline constexpr SwitchNames<WriteMap, 4> kWriteMaps = {{{"softmax", WriteMap::kSoftmax},
                                                         {"softmax_x_n", WriteMap::kSoftmaxTimesN},
                                                         {"sigmoid_x_2", WriteMap::kSigmoidTimes2},
                                                         {"raw", WriteMap::kRaw}}};
inline constexpr SwitchNames<EngramGateInput, 2> kGateInputs = {
    {{"retrieved_hidden", EngramGateInput::kRetrievedFirst},
     {"hidden_retrieved", EngramGateInput::kHiddenFirst}}};
inline constexpr SwitchNames<EngramGateForm, 2> kGateForms = {
    {{"half_open", EngramGateForm::kHalfOpen}, {"erf_only", EngramGateForm::kErfOnly}}};
inline constexpr SwitchNames<bool, 2> kEngramContexts = {{{"on", true}, {"off", false}}};
inline constexpr SwitchNames<bool, 2> kErfMasks = {{{"causal", true}, {"reference", false}}};

}  // namespace plumb
