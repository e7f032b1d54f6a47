#version 330 core
// The same as mesh.vert; pyrender looks for it under this name.

layout(location = 0) in vec3 position;
#ifdef NORMAL_LOC
layout(location = NORMAL_LOC) in vec3 normal;
#endif
#ifdef TEXCOORD_0_LOC
layout(location = TEXCOORD_0_LOC) in vec2 texcoord_0;
#endif
#ifdef COLOR_0_LOC
layout(location = COLOR_0_LOC) in vec4 color_0;
#endif
layout(location = INST_M_LOC) in mat4 inst_m;

uniform mat4 M;
uniform mat4 V;
uniform mat4 P;

out vec3 world_position;
out vec3 world_normal;
out vec2 uv;
out vec3 vertex_color;

void main()
{
    mat4 world_from_object = M * inst_m;
    vec4 world = world_from_object * vec4(position, 1.0);
    gl_Position = P * V * world;
    world_position = world.xyz;
    world_normal = vec3(0.0, 0.0, 1.0);
    uv = vec2(0.0);
    vertex_color = vec3(1.0);
#ifdef NORMAL_LOC
    world_normal = mat3(world_from_object) * normal;
#endif
#ifdef TEXCOORD_0_LOC
    uv = texcoord_0;
#endif
#ifdef COLOR_0_LOC
    vertex_color = color_0.rgb;
#endif
}
