#version 330 core
// The light of renderers.embree: ambient with a share from above, and one spot with its shadow map.
// ambient_light carries (level, sky, mode); in mode 1 the shadow comes out instead of a color.

struct SpotLight {
    vec3 color;
    float intensity;
    vec3 position;
    vec3 direction;
    float light_angle_scale;
    float light_angle_offset;
    sampler2D shadow_map;
    mat4 light_matrix;
};

struct Material {
    vec4 base_color_factor;
#ifdef HAS_BASE_COLOR_TEX
    sampler2D base_color_texture;
#endif
};

uniform Material material;
uniform SpotLight spot_lights[MAX_SPOT_LIGHTS];
uniform vec3 cam_pos;
uniform vec3 ambient_light;

in vec3 world_position;
in vec3 world_normal;
in vec2 uv;
in vec3 vertex_color;

out vec4 frag_color;

vec3 decode(vec3 srgb)
{
    return mix(srgb / 12.92, pow((srgb + 0.055) / 1.055, vec3(2.4)), step(0.04045, srgb));
}

vec3 encode(vec3 light)
{
    vec3 bounded = clamp(light, 0.0, 1.0);
    return mix(
        bounded * 12.92, 1.055 * pow(bounded, vec3(1.0 / 2.4)) - 0.055, step(0.0031308, bounded)
    );
}

// Share of the light that arrives, from the four nearest texels of the shadow map. The point is
// moved off the surface and towards the light by about two texels, against self-shadowing.
float visible(vec3 point, vec3 face_normal, vec3 to_light, float distance)
{
    mat4 matrix = spot_lights[0].light_matrix;
    float size = float(textureSize(spot_lights[0].shadow_map, 0).x);
    float slope = 1.0 / length(vec3(matrix[0][0], matrix[1][0], matrix[2][0]));
    float texel = 2.0 * slope * distance / size;
    vec4 seen = matrix * vec4(point + 2.0 * texel * face_normal + texel * to_light, 1.0);
    vec3 place = seen.xyz / seen.w * 0.5 + 0.5;
    vec2 corner = place.xy * size - 0.5;
    vec2 share = fract(corner);
    float lit[4];
    for (int k = 0; k < 4; k++) {
        vec2 center = (floor(corner) + vec2(k % 2, k / 2) + 0.5) / size;
        lit[k] = texture(spot_lights[0].shadow_map, center).r >= place.z ? 1.0 : 0.0;
    }
    return mix(mix(lit[0], lit[1], share.x), mix(lit[2], lit[3], share.x), share.y);
}

void main()
{
    vec3 albedo = material.base_color_factor.rgb * vertex_color;
#ifdef HAS_BASE_COLOR_TEX
    albedo *= decode(texture(material.base_color_texture, uv).rgb);
#endif
    vec3 normal = normalize(world_normal);
    vec3 face_normal = normalize(cross(dFdx(world_position), dFdy(world_position)));
    if (dot(face_normal, cam_pos - world_position) < 0.0) face_normal = -face_normal;

    vec3 way = spot_lights[0].position - world_position;
    float distance = length(way);
    vec3 to_light = way / distance;
    float rim = dot(spot_lights[0].direction, -to_light) * spot_lights[0].light_angle_scale
        + spot_lights[0].light_angle_offset;
    float cone = clamp(rim, 0.0, 1.0);
    float arrives = 0.0;
    if (rim > 0.0 && dot(to_light, face_normal) > 0.0) {
        arrives = visible(world_position, face_normal, to_light, distance);
    }
    if (ambient_light.z > 0.5) {
        frag_color = vec4(vec3(rim > 0.0 && arrives < 0.5 ? 1.0 : 0.0), 1.0);
        return;
    }
    float strength = arrives * cone * cone * (3.0 - 2.0 * cone) * max(dot(normal, to_light), 0.0)
        * spot_lights[0].intensity / (distance * distance);
    float ambient = ambient_light.x * (1.0 - ambient_light.y + ambient_light.y * normal.z);
    frag_color = vec4(encode(albedo * (ambient + strength * spot_lights[0].color)), 1.0);
}
