// SPDX-License-Identifier: Apache-2.0
// Put before every source for cppcheck, which reads no system headers: the loops of jansson.
#define json_array_foreach(array, i, value)                                                        \
    for (i = 0; i < json_array_size(array) && (value = json_array_get(array, i)); i++)
#define json_object_foreach(object, key, value)                                                    \
    for (key = json_object_iter_key(object); key && (value = json_object_get(object, key));        \
         key = json_object_key_next(object, key))
